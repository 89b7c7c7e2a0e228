"""The closed-form generator: its basis is public and exact, its estimates are usable, its samples are in range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthrelease.errors import IntegrityError
from synthrelease.generators.moments.basis import POWER, Basis
from synthrelease.generators.moments.estimate import denoised_covariance, joined_covariance, shrunken_means, square_root
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Spec
from synthrelease.policy.generators import MomentsGenerator as Settings


def settings(image: int = 6, mask: int = 4) -> Settings:
    return Settings(name="moments", image_frequencies=image, mask_frequencies=mask)


def test_full_basis_gives_every_pixel_back() -> None:
    spec = Spec(resolution=16, classes=2, segments=2)
    basis = Basis(spec, settings(16, 16))
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(-1, 1, (3, 1, 16, 16)), rng.uniform(0, 1, (3, 2, 16, 16))

    again = basis.inverse(basis.features(images, masks))

    np.testing.assert_allclose(again[0], images, atol=1e-12)
    np.testing.assert_allclose(again[1], masks, atol=1e-12)


def test_features_of_a_low_basis_survive_the_round_trip() -> None:
    basis = Basis(Spec(resolution=32, classes=2, segments=1), settings())
    features = np.random.default_rng(0).normal(size=(5, basis.dimensions))

    np.testing.assert_allclose(basis.features(*basis.inverse(features)), features, atol=1e-12)


def test_more_frequencies_than_pixels_are_cut_to_the_resolution() -> None:
    basis = Basis(Spec(resolution=16, classes=2, segments=1), settings(32, 32))
    assert basis.dimensions == 2 * 16 * 16


def test_without_masks_only_the_image_is_described() -> None:
    basis = Basis(Spec(resolution=32, classes=1, segments=0), settings(6, 4))
    images, masks = basis.inverse(basis.features(np.zeros((2, 1, 32, 32)), np.zeros((2, 0, 32, 32))))
    assert basis.dimensions == 36
    assert images.shape == (2, 1, 32, 32)
    assert masks.shape == (2, 0, 32, 32)


def test_equal_noise_on_features_falls_with_frequency_in_pixels() -> None:
    basis = Basis(Spec(resolution=32, classes=1, segments=0), settings(8, 2))
    low, high = np.zeros((2, 1, 64))
    low[0, 0], high[0, 63] = 1.0, 1.0

    def energy(features: np.ndarray) -> float:
        return float(np.sqrt(np.mean(basis.inverse(features)[0] ** 2)))

    expected = ((1 + np.hypot(7, 7)) / 1.0) ** POWER
    assert energy(low) / energy(high) == pytest.approx(expected)


def test_features_do_not_depend_on_the_resolution_of_a_smooth_image() -> None:
    def features_at(size: int) -> np.ndarray:
        place = (np.arange(size) + 0.5) / size
        image = np.cos(np.pi * 2 * place)[:, None] * np.ones(size)
        basis = Basis(Spec(resolution=size, classes=1, segments=0), settings(4, 2))
        return basis.features(image[None, None], np.zeros((1, 0, size, size)))

    np.testing.assert_allclose(features_at(32), features_at(64), atol=1e-9)


def test_a_prior_draw_stays_inside_the_public_bound_which_is_not_idle() -> None:
    basis = Basis(Spec(resolution=32, classes=1, segments=1), settings(12, 8))
    draws = np.random.default_rng(0).normal(size=(500, basis.dimensions)) * basis.prior_spread
    lengths = np.linalg.norm(draws, axis=1)
    assert np.max(lengths) < basis.clip_norm < 3 * np.median(lengths)


def test_moments_recover_a_known_gaussian() -> None:
    spec, chosen = Spec(resolution=16, classes=2, segments=1), settings(4, 3)
    rng = np.random.default_rng(1)
    basis = Basis(spec, chosen)
    means = rng.normal(size=(2, basis.dimensions)) * 0.1
    mixing = rng.normal(size=(basis.dimensions, basis.dimensions)) * 0.02
    covariance = mixing @ mixing.T
    generator = MomentsGenerator.from_moments(spec, chosen, [500, 500], means, covariance)

    labels = torch.ones(20_000, dtype=torch.int64)
    batch = generator.sample(labels, torch.Generator().manual_seed(0))
    drawn = basis.features(batch.images, np.zeros((len(labels), 1, 16, 16)))[:, :16]

    np.testing.assert_allclose(drawn.mean(axis=0), means[1, :16], atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), covariance[:16, :16], atol=0.002)


def test_noisy_covariance_comes_back_positive_and_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(2)
    size, noise = 60, 0.2
    directions = np.linalg.qr(rng.normal(size=(size, 4)))[0]
    truth = (directions * np.array([20.0, 15.0, 10.0, 8.0])) @ directions.T
    raw = rng.normal(size=(size, size)) * noise
    noisy = truth + np.triu(raw, 1) + np.triu(raw, 1).T + np.diag(np.diag(raw)) * np.sqrt(2)

    mended = denoised_covariance(noisy, noise, np.full(size, 0.01))

    assert np.linalg.eigvalsh(noisy)[0] < 0 <= np.linalg.eigvalsh(mended)[0] + 1e-9
    assert np.linalg.norm(mended - truth) < 0.5 * np.linalg.norm(noisy - truth)


def test_pure_noise_gives_no_more_than_the_public_prior() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(50, 50)) * 5.0
    prior = np.full(50, 0.3)
    mended = denoised_covariance((raw + raw.T) / np.sqrt(2), 5.0, prior)
    assert np.trace(mended) <= prior.sum() + 10.0
    assert np.linalg.eigvalsh(mended)[0] > -1e-9


def test_without_noise_a_covariance_is_kept_as_it_is() -> None:
    mixing = np.random.default_rng(4).normal(size=(10, 10))
    covariance = mixing @ mixing.T
    np.testing.assert_allclose(denoised_covariance(covariance, 0.0, np.ones(10)), covariance, atol=1e-9)


def test_what_more_images_tell_of_the_image_is_not_lost_to_masks_of_few() -> None:
    rng = np.random.default_rng(7)
    size, images, noise = 60, 40, (0.05, 0.4)
    directions = np.linalg.qr(rng.normal(size=(size, 6)))[0]
    truth = (directions * np.array([40.0, 20.0, 6.0, 3.0, 2.0, 1.0])) @ directions.T
    raw = rng.normal(size=(size, size)) * noise[1]
    raw[:images, :images] *= noise[0] / noise[1]
    noisy = truth + np.triu(raw, 1) + np.triu(raw, 1).T + np.diag(np.diag(raw)) * np.sqrt(2)
    prior = np.full(size, 0.01)

    joined = joined_covariance(noisy, noise, prior, images)
    few = denoised_covariance(noisy, noise[1], prior)

    def off(found: np.ndarray) -> float:
        return float(np.linalg.norm((found - truth)[:images, :images]))

    assert off(joined) < 0.6 * off(few)
    np.testing.assert_array_equal(joined[images:], few[images:])
    root = square_root(joined)
    assert np.linalg.norm(root @ root.T - truth) < np.linalg.norm(few - truth)


def test_class_means_lost_in_noise_become_the_common_mean() -> None:
    rng = np.random.default_rng(5)
    means = np.ones((3, 200)) + rng.normal(size=(3, 200)) * 0.5
    counts = np.array([100.0, 200.0, 300.0])
    noise = np.array([0.6, 0.6, 0.6])
    shrunk = shrunken_means(means, counts, noise)
    assert np.ptp(shrunk, axis=0).max() < 0.3 * np.ptp(means, axis=0).max()
    np.testing.assert_allclose(shrunken_means(means, counts, np.zeros(3)), means, atol=1e-12)


def test_noise_that_made_a_count_negative_does_not_break_the_fit() -> None:
    spec, chosen = Spec(resolution=16, classes=3, segments=1), settings(4, 3)
    size = Basis(spec, chosen).dimensions
    rng = np.random.default_rng(6)
    generator = MomentsGenerator.from_moments(
        spec,
        chosen,
        [-3.0, 0.2, 40.0],
        rng.normal(size=(3, size)),
        rng.normal(size=(size, size)),
        mean_noise=[5.0, 5.0, 0.1],
        covariance_noise=1.0,
    )
    batch = generator.sample(torch.tensor([0, 1, 2]), torch.Generator().manual_seed(0))
    assert torch.isfinite(batch.images).all()


def test_untrained_samples_are_in_range_and_differ() -> None:
    generator = MomentsGenerator(Spec(resolution=28, classes=2, segments=2), settings())
    batch = generator.sample(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(0))
    assert batch.images.shape == (3, 1, 28, 28)
    assert batch.masks.shape == (3, 2, 28, 28)
    assert batch.images.dtype == batch.masks.dtype == torch.float32
    assert batch.images.abs().max() <= 1.0
    assert batch.masks.min() >= 0.0
    assert batch.masks.max() <= 1.0
    assert not torch.equal(batch.images[0], batch.images[2])


def test_equal_random_state_gives_equal_bits() -> None:
    generator = MomentsGenerator(Spec(resolution=32, classes=2, segments=1), settings())
    first, second = (generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(9)) for _ in range(2))
    other = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(10))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.masks, second.masks)
    assert not torch.equal(first.images, other.images)


def test_moments_of_another_basis_are_refused() -> None:
    state = MomentsGenerator(Spec(resolution=32, classes=2, segments=1), settings(6, 4)).state()
    with pytest.raises(IntegrityError, match="do not fit"):
        MomentsGenerator.from_state(Spec(resolution=32, classes=2, segments=1), settings(5, 4), state)
    with pytest.raises(IntegrityError, match="expected means, root"):
        MomentsGenerator.from_state(
            Spec(resolution=32, classes=2, segments=1), settings(6, 4), {"means": state["means"]}
        )


def test_a_closed_form_has_no_player() -> None:
    assert MomentsGenerator(Spec(resolution=16, classes=1, segments=0), settings()).players() == ()
