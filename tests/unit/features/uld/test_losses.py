"""Losses: closed forms on vectors made by hand, gradients that stop where they should, nothing that overflows."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from synthrelease.features.uld.losses import (
    area,
    areas,
    assignment_entropy,
    mixup_target,
    patch_discrimination,
    region_discrimination,
    region_embeddings,
)


def unit(*shape, seed=0):
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def closed_form(count, temperature=0.1):
    """Loss of `count` exact pairs whose other vectors are all orthogonal."""
    total = math.exp(1 / temperature) + 2 * count - 2
    partner, stranger = math.exp(1 / temperature) / total, 1 / total
    return -math.log(partner) - (2 * count - 2) * math.log1p(-stranger)


@pytest.mark.parametrize("count", [2, 8, 32])
def test_exact_partners_and_orthogonal_strangers_have_the_closed_form(count):
    cells = torch.eye(32)[:count]
    assert float(patch_discrimination(cells, cells)) == pytest.approx(closed_form(count), rel=1e-3)
    assert float(patch_discrimination(cells, cells, 0.5)) == pytest.approx(closed_form(count, 0.5), rel=1e-3)


def test_repulsion_is_of_order_one_because_the_chances_of_all_strangers_sum_to_one_at_most():
    a, b = unit(200, 8), unit(200, 8, seed=1)
    scores = torch.cat([a, b]) @ torch.cat([a, b]).T / 0.1
    log_chance = scores.fill_diagonal_(-torch.inf).log_softmax(dim=1)
    attraction = -float(log_chance.gather(1, torch.arange(400).roll(200)[:, None]).mean())
    assert 0 < float(patch_discrimination(a, b)) - attraction < 3


def test_an_anchor_learns_and_its_partner_is_detached():
    a, b = unit(6, 4).requires_grad_(), unit(6, 4, seed=1).requires_grad_()
    fixed_a, fixed_b = a.detach(), b.detach()
    (grad,) = torch.autograd.grad(patch_discrimination(a, b), a)

    # The same with every role written out: anchors carry gradient, all that they are compared with does not.
    anchors = torch.cat([a, fixed_b])
    chance = (anchors @ torch.cat([fixed_a, fixed_b]).T / 0.1).masked_fill(torch.eye(12).bool(), -torch.inf)
    p = chance.softmax(dim=1)
    partner = torch.arange(12).roll(6)
    loss = 0.0
    for i in range(12):
        loss = loss - p[i, partner[i]].log()
        for j in range(12):
            if j not in (i, int(partner[i])):
                loss = loss - torch.log(1 - p[i, j])
    (by_hand,) = torch.autograd.grad(loss / 12, a)
    assert float(patch_discrimination(a, b).detach()) == pytest.approx(float((loss / 12).detach()), rel=1e-4)
    torch.testing.assert_close(grad, by_hand, rtol=1e-3, atol=1e-5)


def test_groups_let_negatives_come_from_ones_own_image_only():
    a, b = unit(12, 8), unit(12, 8, seed=1)
    groups = torch.tensor([0, 1, 2] * 4)
    apart = [patch_discrimination(a[groups == g], b[groups == g]) for g in range(3)]
    assert float(patch_discrimination(a, b, groups=groups)) == pytest.approx(float(sum(apart)) / 3, rel=1e-5)
    assert float(patch_discrimination(a, b, groups=torch.zeros(12))) == pytest.approx(float(patch_discrimination(a, b)))
    # The sum over images is what a patient-level gradient needs: another image changes nothing in mine.
    a.requires_grad_()
    (grad,) = torch.autograd.grad(patch_discrimination(a, b, groups=groups), a)
    changed = torch.where((groups == 2)[:, None], unit(12, 8, seed=5), a.detach()).requires_grad_()
    (other,) = torch.autograd.grad(patch_discrimination(changed, b, groups=groups), changed)
    torch.testing.assert_close(grad[groups != 2], other[groups != 2])


@pytest.mark.parametrize("temperature", [0.1, 0.005])
def test_coinciding_vectors_and_sharp_temperatures_give_finite_losses_and_gradients(temperature):
    cells = unit(1, 8).expand(10, 8).clone().requires_grad_()
    ahead = torch.cat([unit(1, 8).expand(2, 8), -unit(8, 8, seed=3)]).requires_grad_()
    for a, b in ((cells, cells.detach()), (ahead, unit(10, 8, seed=4))):
        loss = patch_discrimination(a, b, temperature)
        (grad,) = torch.autograd.grad(loss, a)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()


def test_a_mixed_target_is_a_unit_vector_and_hands_no_gradient_back():
    first, second = unit(4, 3, 8).requires_grad_(), unit(4, 3, 8, seed=1).requires_grad_()
    share = torch.tensor([0.2, 0.5, 0.7, 0.8]).view(-1, 1, 1)
    target = mixup_target(first, second, share)
    torch.testing.assert_close(target.norm(dim=-1), torch.ones(4, 3))
    assert not target.requires_grad
    torch.testing.assert_close(mixup_target(first, second, 1.0), first.detach())
    mixed = unit(12, 8, seed=2).requires_grad_()
    patch_discrimination(mixed, target.flatten(0, 1)).backward()
    assert first.grad is None
    assert second.grad is None
    assert mixed.grad.abs().sum() > 0


def test_regions_that_mean_the_same_in_all_images_have_the_closed_form():
    count = 4
    shares = functional.one_hot(torch.arange(64).view(8, 8) // 16, count).permute(2, 0, 1).float().expand(3, -1, -1, -1)
    embedding = torch.eye(32)[:, torch.arange(64).view(8, 8) // 16].expand(3, -1, -1, -1)
    torch.testing.assert_close(region_embeddings(embedding, shares), torch.eye(4, 32).expand(3, -1, -1))
    expected = -math.log(math.exp(5) / (math.exp(5) + count - 1))
    assert float(region_discrimination(embedding, shares)) == pytest.approx(expected, rel=1e-4)


def test_region_loss_is_the_logarithm_of_k_when_all_clusters_mean_the_same_and_reaches_prototypes():
    embedding = unit(1, 1, 1, 8).permute(0, 3, 1, 2).expand(2, 8, 6, 6).clone().requires_grad_()
    shares = torch.full((2, 3, 6, 6), 1 / 3)
    loss = region_discrimination(embedding, shares)
    assert float(loss.detach()) == pytest.approx(math.log(3), rel=1e-4)
    random_shares = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    region_discrimination(embedding, random_shares).backward()
    assert embedding.grad.abs().sum() > 0


def test_entropy_is_one_bit_at_a_half_and_none_for_made_up_minds():
    assert float(assignment_entropy(torch.full((1, 2, 4, 4), 0.5))) == pytest.approx(1.0)
    decided = torch.zeros(1, 2, 4, 4)
    decided[:, 0] = 1.0
    assert float(assignment_entropy(decided)) == pytest.approx(0.0, abs=1e-4)


def test_collapse_shows_in_the_areas_and_costs_the_area_term():
    even, collapsed = torch.full((2, 4, 6, 6), 0.25), torch.zeros(2, 4, 6, 6)
    collapsed[:, 1] = 1.0
    assert areas(collapsed).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert float(area(even)) == pytest.approx(0.0)
    assert float(area(collapsed)) == pytest.approx((0.75**2 + 3 * 0.25**2) / 4)
