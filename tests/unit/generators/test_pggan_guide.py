"""The guide: several findings at once, each image by itself, and looks that differ from image to image."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from synthrelease.generators.pggan.guide import Guide, fit, masked_loss, player, reach, shifted, varied
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.training.backends import backend_for

SPEC = Spec(resolution=16, classes=2, segments=0)


def guide(spec: Spec = SPEC) -> Guide:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Guide(spec, width=8)


def sides(count: int, seed: int) -> Batch:
    """Class 0 is brighter on the left, class 1 on the right."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=rng)
    images = 0.3 * torch.randn(count, 1, 16, 16, generator=rng)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, 8 * label : 8 * label + 8] += 0.4
    return Batch(images.clamp(-1, 1), torch.zeros(count, 0, 16, 16), labels)


@pytest.mark.parametrize("resolution", [16, 28, 32, 64, 128])
def test_one_logit_a_finding_at_every_resolution(resolution: int) -> None:
    spec = Spec(resolution, 3, 1, targets=((0.0, 0.0), (1.0, 0.5), (0.0, 1.0)))
    assert Guide(spec)(torch.zeros(5, 1, resolution, resolution)).shape == (5, 2)


def test_an_image_is_judged_by_itself() -> None:
    network, images = guide(), sides(6, 0).images
    alone = torch.cat([network(images[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(network(images), alone)


def test_patients_gradients_are_taken_layer_by_layer() -> None:
    told = player(guide(), SPEC)
    inputs = told.draw(sides(4, 0), torch.Generator().manual_seed(0))
    _, why = backend_for(told, inputs, "fast")
    assert why is None
    assert told.sees_real


def test_a_finding_that_may_be_either_teaches_nothing() -> None:
    logits = torch.tensor([[2.0, -1.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(masked_loss(logits, torch.tensor([[1.0, 0.5]])).sum(), logits)
    assert slope[0, 1] == 0.0
    assert slope[0, 0] < 0.0
    assert masked_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.5]])).item() == pytest.approx(log(2.0))
    assert masked_loss(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])).item() == 0.0


def test_the_targets_of_a_class_come_from_the_declared_table() -> None:
    spec = Spec(16, 2, 0, targets=((0.0, 0.5, 1.0), (1.0, 0.0, 0.0)))
    batch = sides(5, 0)
    inputs = player(guide(spec), spec).draw(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(inputs["targets"], spec.target_table()[batch.labels])


def test_a_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(shifted(image, 0, 0), image)
    assert torch.equal(shifted(image, 1, 0)[0, 0, 1:], image[0, 0, :-1])
    assert torch.equal(shifted(image, 1, 0)[0, 0, 0], image[0, 0, 0])
    assert torch.equal(shifted(image, 0, -1)[0, 0, :, :-1], image[0, 0, :, 1:])


def test_a_shift_lets_gradients_through() -> None:
    image = torch.zeros(1, 1, 4, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(shifted(image, 1, 1)[0, 0, 2, 2], image)
    assert slope[0, 0, 1, 1] == 1.0
    assert slope.sum() == 1.0


def test_looks_differ_from_image_to_image_and_come_again_with_the_seed() -> None:
    images = sides(3, 0).images[:1].expand(3, -1, -1, -1)
    before = images.clone()
    looks = varied(images, torch.Generator().manual_seed(1))
    assert torch.equal(looks, varied(images, torch.Generator().manual_seed(1)))
    assert not torch.equal(looks[0], looks[1])
    assert torch.equal(images, before)
    assert varied(images[:0], torch.Generator()).shape == (0, 1, 16, 16)


def test_a_look_is_shifted_a_little_at_any_resolution() -> None:
    assert [reach(side) for side in (16, 32, 64, 128)] == [1, 1, 2, 4]


def accuracy(network: Guide, batch: Batch) -> float:
    chosen: Tensor = network(batch.images).argmax(dim=1)
    return float((chosen == batch.labels).float().mean())


def test_a_guide_learns_from_batches_outside_the_loop_and_comes_out_the_same() -> None:
    first, second = guide(), guide()
    for network in (first, second):
        fit(network, SPEC, (sides(32, seed) for seed in range(40)), seed=5)
    assert accuracy(first, sides(200, 1000)) > 0.95
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
