"""Distances between sets of features: the same numbers as the libraries that others use, and what each must show."""

from __future__ import annotations

import numpy as np
import prdc
import pytest
import torch
from monai.metrics import FIDMetric, MultiScaleSSIMMetric
from scipy.ndimage import gaussian_filter
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_mmd
from vendi_score import vendi as vendi_library

from synthrelease.features.distances import (
    covered,
    frechet,
    frechet_infinity,
    frechet_of,
    kernel_distance,
    median_distance,
    moments,
    neighbourhoods,
    vendi,
)
from synthrelease.features.embedding import Embedding
from synthrelease.features.frd import radiomic_distance, radiomic_features
from synthrelease.features.ssim import ms_ssim, scale_weights

AGREE = 1e-4


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    return rng.normal(size=(240, 12)) @ mixing, rng.normal(0.3, 1.2, size=(200, 12)) @ mixing


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    smooth = gaussian_filter(rng.normal(size=(24, 64, 64)), (0, 2, 2))
    return np.clip(smooth / smooth.std() * 0.4, -1, 1)[:, None].astype(np.float32)


class FirstPixels(nn.Module):
    """An extractor that gives back the numbers that were put into an image."""

    num_features = 12

    def forward(self, images):
        return images[:, 0, 0, :12]


def as_images(values):
    frames = torch.zeros(len(values), 3, 12, 12)
    frames[:, 0, 0] = torch.from_numpy(values).float()
    return frames


def test_frechet_agrees_with_torchmetrics_and_monai(features):
    one, two = features
    ours = frechet(one, two)
    assert float(FIDMetric()(torch.from_numpy(two), torch.from_numpy(one))) == pytest.approx(ours, rel=AGREE)
    metric = FrechetInceptionDistance(FirstPixels(), input_img_size=(3, 12, 12))
    for x, real in ((one, True), (two, False)):
        metric.update(as_images(x), real=real)
    assert float(metric.compute()) == pytest.approx(ours, rel=AGREE)


def test_frechet_from_moments_is_the_same(features):
    one, two = features
    assert frechet_of(*moments(one), *moments(two)) == frechet(one, two)


def test_kernel_distance_agrees_with_torchmetrics(features):
    one, two = (x[:200] for x in features)
    kernels = [torch.from_numpy((a @ b.T / 12 + 1.0) ** 3) for a, b in ((one, one), (one, two), (two, two))]
    assert kernel_distance(one, two) == pytest.approx(float(maximum_mean_discrepancy(*kernels)), rel=AGREE)
    assert kernel_distance(one, two) == pytest.approx(
        float(poly_mmd(torch.from_numpy(one), torch.from_numpy(two))), rel=AGREE
    )


def test_neighbourhoods_agree_with_prdc(features):
    one, two = features
    theirs = prdc.compute_prdc(one, two, nearest_k=5)
    for name, value in neighbourhoods(one, two)._asdict().items():
        assert value == pytest.approx(theirs[name], abs=AGREE), name
    assert covered(one, two).mean() == pytest.approx(theirs["coverage"], abs=AGREE)


def test_vendi_score_agrees_with_its_authors(features):
    one = features[0][:80]
    width = median_distance(one)
    square = ((one[:, None] - one[None]) ** 2).sum(axis=2)
    theirs = vendi_library.score_K(np.exp(-square / (2 * width**2)))
    assert vendi(one, width) == pytest.approx(theirs, rel=AGREE)
    assert vendi(np.repeat(one[:1], 30, axis=0), width) == pytest.approx(1.0)
    assert vendi(np.repeat(one[:4], 20, axis=0), width) == pytest.approx(vendi(one[:4], width))


@pytest.mark.parametrize("side", [64, 44, 20])
def test_ms_ssim_agrees_with_monai_and_at_one_scale_with_torchmetrics(images, side):
    one, two = images[:12, :, :side, :side], images[12:, :, :side, :side]
    two = np.clip(0.6 * one + 0.5 * two, -1, 1)
    ours, weights = ms_ssim(one, two), scale_weights(side)
    first, second = torch.from_numpy(one) + 1, torch.from_numpy(two) + 1
    monai = MultiScaleSSIMMetric(spatial_dims=2, data_range=2.0, weights=weights)(first, second)
    np.testing.assert_allclose(ours, np.asarray(monai)[:, 0], atol=AGREE)
    if len(weights) == 1:
        _, places = structural_similarity_index_measure(
            first, second, data_range=2.0, reduction="none", return_full_image=True
        )
        inner = places[..., 5:-5, 5:-5].mean((1, 2, 3))  # without the border that it reflects
        np.testing.assert_allclose(ours, np.maximum(np.asarray(inner), 0), atol=AGREE)
    np.testing.assert_allclose(ms_ssim(one, one), 1.0)


def test_frechet_infinity_removes_most_of_the_bias_of_small_samples():
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(160, 16)), rng.normal(size=(160, 16))) for _ in range(12)]
    plain = np.mean([frechet(*pair) for pair in pairs])
    extrapolated = np.mean([frechet_infinity(*pair, rng) for pair in pairs])
    assert abs(extrapolated) < 0.3 * plain


def test_radiomic_features_see_gain_noise_and_blur_and_not_who_it_is(images):
    features = radiomic_features(images)
    assert features.shape == (24, 102)
    assert np.isfinite(features).all()
    one, two = features[:12], features[12:]
    unit = radiomic_distance(features, one, two)
    rng = np.random.default_rng(3)
    changes = {
        "gain": 0.6 * images[12:],
        "noise": np.clip(images[12:] + rng.normal(0, 0.1, images[12:].shape), -1, 1),
        "blur": gaussian_filter(images[12:], (0, 0, 1, 1)),
    }
    for name, changed in changes.items():
        assert radiomic_distance(features, one, radiomic_features(changed.astype(np.float32))) > 3 * unit, name


def test_a_flat_image_has_finite_radiomic_features():
    assert np.isfinite(radiomic_features(np.zeros((2, 1, 32, 32), np.float32))).all()


def test_distances_are_small_between_halves_and_grow_with_a_change_of_grey():
    rng = np.random.default_rng(0)
    x = gaussian_filter(rng.normal(size=(400, 1, 32, 32)), (0, 0, 2, 2)).astype(np.float32)
    embed = Embedding.fit(x[:200])
    one, two, moved = embed(x[:200]), embed(x[200:]), embed(x[200:] + 0.1)
    assert "holdout" in embed.name
    assert one.shape == (200, 16)
    assert frechet(one, moved) > 2 * frechet(one, two)
    assert kernel_distance(one, moved) > 10 * abs(kernel_distance(one, two))
    same, other = neighbourhoods(one, two), neighbourhoods(one, one[:3].repeat(70, axis=0))
    assert same.coverage > 0.9 > 0.2 > other.coverage
    assert other.precision == 1.0


def test_kernel_distance_is_unbiased_between_samples_of_one_population():
    rng = np.random.default_rng(0)
    values = [kernel_distance(*rng.normal(size=(2, 40, 8))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0
