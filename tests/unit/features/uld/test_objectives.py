"""One step's loss: features of both views lie in one frame, fill is left out, and every term is there with its weight.

A stub in place of the network says what grey a pixel has, so that vectors of the right cells are known beforehand.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from synthrelease.features.uld import losses, views
from synthrelease.features.uld.averaging import to_grid
from synthrelease.features.uld.objectives import objective
from synthrelease.features.uld.recipe import Recipe

STILL = views.GreyRange(gain=0.0, offset=0.0, gamma=0.0, noise=0.0)
"""No change of grey."""

COUNT, SIDE, CELLS, LEVELS = 4, 64, 4, 64
WITHIN = Recipe(cells=CELLS, batch=COUNT, grey=STILL, pose=0.0)
PAPER = Recipe(mode="paper", cells=CELLS, batch=COUNT, grey=STILL)


def blocks(count=COUNT):
    """(count, 1, 64, 64) images whose 4 x 4 cells have a grey each that no other cell of any image has."""
    order = torch.randperm(LEVELS, generator=torch.Generator().manual_seed(3))[: count * CELLS**2]
    grey = ((order.float() + 0.5) / LEVELS * 2.0 - 1.0).view(count, 1, CELLS, CELLS)
    return grey.repeat_interleave(SIDE // CELLS, dim=2).repeat_interleave(SIDE // CELLS, dim=3)


class Stub:
    """Unit vectors that say which of 64 greys a pixel has; shares that say how bright it is.

    Attributes:
        embedding, shares: What it gave last.
    """

    def __call__(self, images):
        level = ((images[:, 0] + 1.0) / 2.0 * LEVELS).floor().clamp(0, LEVELS - 1).long()
        self.embedding = functional.one_hot(level, LEVELS).permute(0, 3, 1, 2).float()
        return self.embedding

    def assign(self, images):
        bright = (images + 1.0).clamp(0.1, 1.9) / 2.0
        self.shares = torch.cat([bright, 1.0 - bright], dim=1)
        return self(images), self.shares


@pytest.fixture
def asked(monkeypatch):
    """Arguments of every call of the patch loss, which still does its work: (a, b, groups)."""
    calls = []

    def spied(a, b, temperature=losses.PATCH_TEMPERATURE, groups=None):
        calls.append((a, b, groups))
        return patch_discrimination(a, b, temperature, groups)

    patch_discrimination = losses.patch_discrimination
    monkeypatch.setattr(losses, "patch_discrimination", spied)
    return calls


@pytest.fixture
def unmoved(monkeypatch):
    """The published views without any geometry but the quarter turns."""
    nowhere = torch.zeros(COUNT, 1, SIDE, SIDE, dtype=torch.bool)
    monkeypatch.setattr(views, "shared_geometry", lambda images, generator, mirror: (images, nowhere))
    monkeypatch.setattr(views, "slight_turn", lambda images, generator: images)


def value(recipe, images, *, regions=False, seed=0, network=None):
    found = objective(network or Stub(), images, recipe, drawn(seed), regions=regions)
    return float(found.total)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def closed_form(count, temperature=0.1):
    """Loss of ``count`` exact pairs whose other vectors are all orthogonal, P+ = e^10 / (e^10 + N - 2)."""
    total = math.exp(1 / temperature) + 2 * count - 2
    return -math.log(math.exp(1 / temperature) / total) - (2 * count - 2) * math.log1p(-1 / total)


def agreement(call):
    """(M,) cosine of each cell with its partner."""
    return (call[0] * call[1]).sum(dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_views_within_an_image_meet_in_its_frame_so_that_exact_partners_have_the_closed_form(asked, seed):
    found = value(WITHIN, blocks(), seed=seed)
    ((_, _, image),) = asked
    sizes = torch.bincount(image)
    expected = sum(int(size) * closed_form(int(size)) for size in sizes) / int(sizes.sum())
    assert found == pytest.approx(expected, abs=0.3)  # cells that the second view did not reach whole are a little off
    assert agreement(asked[0]).mean() > 0.95
    # Left as it was seen, the second view shows other cells: the same vectors, most of them with a wrong partner.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "unwarp", lambda maps, theta: (maps, torch.ones_like(maps[:, :1], dtype=torch.bool)))
        assert value(WITHIN, blocks(), seed=seed) > expected + 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_posed_first_view_and_the_second_seen_through_it_meet_as_well(asked, seed):
    """The default: both views differ from the image, and only their relation is undone."""
    smooth = functional.interpolate(torch.rand(COUNT, 1, 6, 6, generator=drawn(9)) * 1.8 - 0.9, SIDE, mode="bilinear")
    value(Recipe(cells=8, batch=COUNT, grey=STILL, pose=1.0), smooth, seed=seed)
    assert len(asked[0][0]) > COUNT * 8
    assert agreement(asked[0]).mean() > 0.8  # mixtures of greys, sampled twice


def test_quarter_turns_are_undone_before_cells_are_compared(asked, unmoved):
    for seed in range(3):
        asked.clear()
        value(PAPER, blocks(), seed=seed)
        (a, b, groups), _ = asked
        assert groups is None
        torch.testing.assert_close(a, b)
        assert float(losses.patch_discrimination(a, b)) == pytest.approx(closed_form(COUNT * CELLS**2), rel=1e-3)


def test_the_published_loss_is_the_patches_of_two_views_and_those_of_mixed_images(asked, unmoved):
    images = blocks()
    found = value(PAPER, images)
    (a, b, _), (m, target, _) = asked
    assert len(m) == len(a) // 2 == COUNT // 2 * CELLS**2
    assert found == pytest.approx(sum(float(losses.patch_discrimination(x, y)) for x, y in ((a, b), (m, target))))
    # Each target lies on the arc between the two cells that were mixed, as far along as their pair's share says.
    first, second = a.view(2, -1, LEVELS)
    on_first, on_second = (target * first).sum(dim=1), (target * second).sum(dim=1)
    torch.testing.assert_close(on_first**2 + on_second**2, torch.ones(len(m)))
    share = (on_first / (on_first + on_second)).view(COUNT // 2, CELLS**2)
    assert share.std(dim=1).max() < 1e-4
    assert share.min() >= 0.2
    assert share.max() <= 0.8
    # Anchors are cells of what the network made of the mixed pictures.
    part = share[:, 0].view(-1, 1, 1, 1)
    mixed = to_grid(Stub()(part * images[:2] + (1 - part) * images[2:]), CELLS).flatten(0, 2)
    assert ((mixed * m).sum(dim=1) > 0.9).float().mean() > 0.8  # rounding moves a grey at an edge of its level


def test_cells_that_only_one_view_shows_or_that_are_mostly_fill_have_no_partner(asked):
    recipe = Recipe(cells=8, batch=COUNT, grey=STILL, pose=1.0)
    value(recipe, blocks(), seed=5)
    generator = drawn(5)
    pose, relative = (views.draw_affine(COUNT, recipe.affine, generator) for _ in range(2))
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    xy = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(-1, 2)
    in_image = (xy @ pose[:, :, :2].mT + pose[:, None, :, 2]).abs().amax(dim=2) <= 1.0
    in_second = torch.linalg.solve(relative[:, :, :2], (xy - relative[:, None, :, 2]).mT).abs().amax(dim=1)
    shown = in_image & (in_second <= 1.0 - 1.0 / SIDE + 1e-4)
    kept = functional.avg_pool2d(shown.view(COUNT, 1, SIDE, SIDE).float(), SIDE // 8).flatten(1) > 0.5
    ((a, b, image),) = asked
    assert 0 < kept.sum() < kept.numel()
    assert len(a) == len(b) == kept.sum()
    assert torch.bincount(image, minlength=COUNT).tolist() == kept.sum(dim=1).tolist()


def test_published_cells_that_are_mostly_repeated_border_are_no_negatives_of_each_other(asked):
    recipe = Recipe(mode="paper", cells=8, batch=COUNT, grey=STILL)
    seed = 1  # whose pairs are turned by different angles
    value(recipe, blocks(), seed=seed)
    _, fill = views.shared_geometry(blocks(), drawn(seed))
    kept = (functional.avg_pool2d(fill.float(), SIDE // 8) <= 0.5).flatten(1)
    (a, b, _), (m, target, _) = asked
    assert 0 < kept.sum() < kept.numel()
    assert len(a) == len(b) == kept.sum()
    in_both = (kept[:2] & kept[2:]).sum()
    assert len(m) == len(target) == in_both < min(kept[:2].sum(), kept[2:].sum())


@pytest.mark.parametrize(("recipe", "clean"), [(WITHIN, 2 * COUNT), (PAPER, 2 * COUNT)])
def test_the_second_stage_adds_ten_times_the_regions_and_a_tenth_of_the_entropy(recipe, clean):
    """Of the views as they were seen; mixed images belong to nobody and have no part in it."""
    network = Stub()
    added = value(recipe, blocks(), regions=True, network=network) - value(recipe, blocks())
    network = Stub()
    value(recipe, blocks(), regions=True, network=network)
    assert len(network.embedding) == (clean if recipe.mode == "within" else clean + COUNT // 2)
    embedding, shares = network.embedding[:clean], network.shares[:clean]
    regions, entropy = losses.region_discrimination(embedding, shares), losses.assignment_entropy(shares)
    assert float(regions) > 0.1
    assert added == pytest.approx(10 * float(regions) + 0.1 * float(entropy), rel=1e-3)
    weighed = Recipe(**{**recipe.__dict__, "area_weight": 50.0})
    more = value(weighed, blocks(), regions=True) - value(recipe, blocks(), regions=True)
    assert float(losses.area(shares)) > 1e-4
    assert more == pytest.approx(50 * float(losses.area(shares)), rel=1e-2)


def test_areas_are_told_in_the_second_stage_alone():
    found = objective(Stub(), blocks(), PAPER, drawn(), regions=True)
    assert float(found.areas.sum()) == pytest.approx(1.0, abs=1e-4)
    assert not len(objective(Stub(), blocks(), PAPER, drawn(), regions=False).areas)


def test_another_patients_same_anatomy_is_a_stranger_in_the_first_stage_and_a_friend_in_the_second(asked, unmoved):
    """As published; from within an image nobody else's anatomy is seen."""
    twins = blocks(1).expand(COUNT, -1, -1, -1)
    regions = [value(PAPER, images, regions=True) - value(PAPER, images) for images in (twins, blocks())]
    assert regions[0] < regions[1] - 1.0
    alike, _, _, _, other, _, _, _ = (float(losses.patch_discrimination(a, b)) for a, b, _ in tuple(asked))
    assert other == pytest.approx(closed_form(COUNT * CELLS**2), rel=1e-3)
    assert alike > other + 1.0
    assert value(WITHIN, twins) == pytest.approx(value(WITHIN, blocks()), abs=0.1)
