"""Outlines guide a cluster to the thing they show, without a mask of any image; a fit resumes where it was killed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.features.uld import segmentation
from synthrelease.features.uld.segmentation import ShapeDiscriminator, ShapeRecipe, fit_shapes, segment, transfer
from synthrelease.features.uld.shapes import ShapeRange, lung_outlines, vary
from synthrelease.features.uld.sources import ArraySource
from synthrelease.features.uld.views import AffineRange
from synthrelease.records.progress import Silent

TINY = ShapeRecipe(side=16, clusters=3, cells=4, anchor_steps=3, steps=3, batch=3)


def discs(count=40, side=16, seed=0):
    """One bright disc each, off the middle, on uneven ground: images (N, 1, side, side) and masks (N, side, side)."""
    rng = np.random.default_rng(seed)
    axis = np.arange(side) + 0.5
    y, x = side * (0.5 + rng.uniform(-0.14, 0.14, (2, count, 1, 1)))
    masks = (axis[:, None] - y) ** 2 + (axis - x) ** 2 < (0.26 * side) ** 2
    slope = rng.uniform(-0.3, 0.3, (count, 1, 1)) * (axis / side - 0.5)
    images = np.where(masks, 0.5, -0.5) + slope + rng.normal(0, 0.08, masks.shape)
    return images[:, None].astype(np.float32), masks


def overlap(found, truth):
    return float(np.mean(2 * (found & truth).sum((1, 2)) / (found.sum((1, 2)) + truth.sum((1, 2)))))


class Killed(ArraySource):
    """Stops the process, as it were, when it is asked for images the ``at``-th time."""

    def __init__(self, images, at):
        super().__init__(images)
        self.at = at

    def take(self, rows):
        self.at -= 1
        if self.at < 0:
            raise KeyboardInterrupt
        assert len(rows) <= TINY.batch  # no more than a batch in memory
        return super().take(rows)


class Heard(Silent):
    def __init__(self):
        self.stages = []

    def stage(self, name, total=None):
        self.stages.append((name, total))


def test_outlines_are_two_lungs_that_differ_and_touch_no_border():
    outlines = lung_outlines(10, 64)
    assert outlines.shape == (10, 1, 64, 64)
    assert outlines.dtype == np.float32
    assert 0 <= outlines.min() < outlines.max() <= 1
    assert not outlines[..., [0, -1]].any()
    assert not outlines[..., [0, -1], :].any()
    assert not (outlines[..., 30:34] > 0).all(axis=-1).any()  # a mediastinum between them
    shares = outlines.mean(axis=(1, 2, 3))
    assert (shares > 0.15).all()
    assert (shares < 0.5).all()
    assert np.ptp(shares) > 0.03
    assert np.array_equal(outlines, lung_outlines(10, 64))
    assert not np.array_equal(outlines, lung_outlines(10, 64, seed=1))


def test_outlines_of_a_coarser_grid_are_the_same_outlines():
    fine, coarse = lung_outlines(3, 64), lung_outlines(3, 32)
    assert np.abs(fine.reshape(3, 1, 32, 2, 32, 2).mean(axis=(3, 5)) - coarse).mean() < 0.01


@pytest.mark.parametrize(("count", "side"), [(0, 64), (3, 8)])
def test_impossible_outlines_are_refused(count, side):
    with pytest.raises(ValueError, match="cannot be drawn"):
        lung_outlines(count, side)


def test_varied_outlines_follow_the_generator_and_mirror_half_of_the_time():
    shapes = torch.from_numpy(lung_outlines(1, 32))
    shapes[..., 16:] = 0.0  # one lung only, so that a mirror image shows
    still = ShapeRange(affine=AffineRange(degrees=0.0, shift=0.0, scale=(1.0, 1.0)), width=0.0)
    drawn = vary(shapes, still, 200, torch.Generator().manual_seed(0))
    mirrored = drawn[..., 16:].sum((1, 2, 3)) > drawn[..., :16].sum((1, 2, 3))
    assert 70 < int(mirrored.sum()) < 130
    assert torch.allclose(drawn[~mirrored], shapes.expand(int((~mirrored).sum()), -1, -1, -1), atol=1e-5)
    again = vary(shapes, still, 200, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


@pytest.mark.parametrize("side", [16, 32, 48, 64, 100])
def test_discriminator_has_a_real_leaky_relu_and_takes_any_side(side):
    """U8: the published LeakyReLU(True) has slope one, and a discriminator of it is nearly linear."""
    judge = ShapeDiscriminator(side)
    slopes = {m.negative_slope for m in judge.modules() if isinstance(m, torch.nn.LeakyReLU)}
    assert slopes == {0.2}
    maps = torch.rand(3, 1, side, side)
    assert judge(maps).shape == (3,)
    with torch.no_grad():
        flipped = judge(-maps) - judge(torch.zeros_like(maps))
        straight = judge(maps) - judge(torch.zeros_like(maps))
    assert not torch.allclose(flipped, -straight, rtol=0.05)


def test_cluster_0_finds_what_the_outlines_show_where_it_lies():
    """U8 in small: better than the outline itself laid in the middle, and than any other cluster."""
    images, masks = discs(80)
    axis = np.arange(16) + 0.5
    distance = (axis[:, None] - 8) ** 2 + (axis - 8) ** 2
    outlines = np.stack([distance < (share * 16) ** 2 for share in (0.23, 0.26, 0.29)])[:, None].astype(np.float32)
    recipe = ShapeRecipe(side=16, clusters=4, cells=4, anchor_steps=80, steps=40, learning_rate=5e-3, seed=1)
    network = fit_shapes(ArraySource(images[:60]), outlines, recipe)
    unseen, truth = images[60:], masks[60:]
    found = segment(network, unseen)
    assert found.shape == (20, 16, 16)
    reached = overlap(found > 0.5, truth)
    laid = overlap(np.repeat(outlines[1] > 0.5, 20, 0), truth)
    assert reached > 0.8
    assert reached > laid + 0.08
    by_regions = segment(network, unseen, readout="regions")
    assert overlap(by_regions > 0.5, truth) > laid
    with torch.no_grad():
        shares = network.assign(torch.from_numpy(unseen))[1]
    others = [overlap((shares[:, k] > shares[:, k].mean()).numpy(), truth) for k in range(1, 4)]
    assert reached > max(others)


def test_the_published_form_guides_from_its_first_step():
    images, _ = discs(6)
    outlines = lung_outlines(side=16)
    fits = [
        fit_shapes(ArraySource(images), outlines, replace(TINY, anchor_steps=first, steps=3 - first)).state_dict()
        for first in (3, 0)
    ]
    assert any(not torch.equal(fits[0][name], fits[1][name]) for name in fits[0])


def test_answers_come_back_at_the_size_of_the_images():
    images, _ = discs(3)
    network = fit_shapes(ArraySource(images), lung_outlines(2, 16), replace(TINY, steps=0, anchor_steps=1))
    large = np.repeat(np.repeat(images, 2, axis=2), 3, axis=3)
    assert segment(network, large, side=16).shape == (3, 32, 48)
    assert segment(network, images[:0]).shape == (0, 16, 16)


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_killed_fit_ends_with_the_same_weights(tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr(segmentation, "KEEP_EVERY_S", 0.0)
    images, outlines = discs(9)[0], lung_outlines(3, 16)
    whole = fit_shapes(ArraySource(images), outlines, TINY)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_shapes(Killed(images, killed_at + 1), outlines, TINY, state=state)  # the first asking is for the digest
    heard = Heard()
    resumed = fit_shapes(ArraySource(images), outlines, TINY, state=state, progress=heard)
    assert heard.stages[-1] == ("guiding", 3)
    assert len(heard.stages) == (1 if killed_at >= 3 else 2)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    finished = fit_shapes(ArraySource(images), outlines, TINY, state=state)
    assert all(torch.equal(value, finished.state_dict()[name]) for name, value in whole.state_dict().items())


def test_state_of_another_fit_or_a_damaged_one_is_refused(tmp_path):
    images, outlines = discs(6)[0], lung_outlines(3, 16)
    state = tmp_path / "state.safetensors"
    fit_shapes(ArraySource(images), outlines, TINY, state=state)
    for other in (
        lambda: fit_shapes(ArraySource(images), outlines, replace(TINY, seed=5), state=state),
        lambda: fit_shapes(ArraySource(images[::-1]), outlines, TINY, state=state),
        lambda: fit_shapes(ArraySource(images), outlines[:2], TINY, state=state),
    ):
        with pytest.raises(IntegrityError, match="begun with another"):
            other()
    state.write_bytes(state.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match="damaged"):
        fit_shapes(ArraySource(images), outlines, TINY, state=state)


def test_unfit_input_is_refused():
    images, outlines = discs(4)[0], lung_outlines(2, 16)
    with pytest.raises(UnsuitableData, match="1 images"):
        fit_shapes(ArraySource(images[:1]), outlines, TINY)
    with pytest.raises(ValueError, match="outlines are"):
        fit_shapes(ArraySource(images), 2 * outlines, TINY)
    with pytest.raises(UnsuitableData, match="not finite"):
        fit_shapes(ArraySource(np.full_like(images, np.nan)), outlines, TINY)
    with pytest.raises(ValueError, match="side is at least"):
        replace(TINY, side=8)
    with pytest.raises(ValueError, match="hidden"):
        replace(TINY, frame=0.6)


def test_mask_goes_over_to_pixels_that_are_like_it():
    """One-shot transfer: with vectors that say what a pixel is, the mask of one image is found in the others."""
    images, masks = discs(6)

    def embed(x):
        bright = x[:, :1] > 0
        return np.concatenate([bright, ~bright], axis=1).astype(np.float32)

    found = transfer(embed, images[0], masks[0], images[1:], window=1)
    assert found.shape == (5, 16, 16)
    assert overlap(found > 0.5, masks[1:]) > 0.97
    with pytest.raises(ValueError, match="the mask is"):
        transfer(embed, images[0], masks[0][:8], images[1:])
