"""Counts, class means and pooled covariance of features, exact or through the Gaussian mechanism.

Each patient has weight one, spread evenly over the patient's images, and enters three sums (K classes, D features):

    class_counts     (K,)           share of the patient's images in each class;        norm <= 1
    class_sums       (K * D,)       that share times the mean feature vector in it;     norm <= C
    second_moments   (D (D+1) / 2,) mean outer product of features about the released   norm <= R^2
                                    class means; off-diagonals times sqrt 2

Where masks of some are used, everybody teaches the image: features of masks are 0 where they are not known, about the mean too,
which makes a vector shorter and never longer, and a fourth sum tells of how many they are:

    masked_counts    (K,)           share of the patient's images in each class whose   norm <= 1
                                    masks are used

Means are sums over counts, the covariance is the second moments over the total count: post-processing, as is
whatever the generator does to a covariance that noise has made indefinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from synthrelease.errors import IntegrityError
from synthrelease.generators.moments.basis import Frequencies
from synthrelease.generators.moments.estimate import OfMasks
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Spec
from synthrelease.privacy.account import Account
from synthrelease.privacy.mechanism import gaussian_sum
from synthrelease.privacy.noise import NoiseSource
from synthrelease.privacy.plan import Query
from synthrelease.training.patients import TrainingPatients

Array = npt.NDArray[np.float64]

COUNTS, MASKED, SUMS, SECOND = "class_counts", "masked_counts", "class_sums", "second_moments"
RESIDUAL_CLIP = 0.6
"""Clip norm of a feature vector about its class mean, over that of the vector itself; a public constant."""


class FeatureBasis(Protocol):
    """A public description of images and masks by features; see the moments generator's basis."""

    dimensions: int
    image_dimensions: int
    clip_norm: float

    def features(self, images: npt.ArrayLike, masks: npt.ArrayLike) -> Array:
        """(N, D)."""
        ...


@dataclass(frozen=True)
class Moments:
    """What the closed-form generator is made of.

    Attributes:
        counts: (K,) patients by class, not negative.
        means: (K, D).
        covariance: (D, D) symmetric; noise may have made it indefinite.
        mean_noise: (K,) standard deviation of the noise in each element of a class mean; 0 when exact. Public.
        covariance_noise: The same, of the off-diagonal elements of ``covariance``.
        of_masks: What differs for what is of masks, where masks of some are used; None: every image has masks.
    """

    counts: Array
    means: Array
    covariance: Array
    mean_noise: Array
    covariance_noise: float
    of_masks: OfMasks | None = None

    def generator(self, spec: Spec, settings: Frequencies) -> MomentsGenerator:
        """Who samples by them."""
        # Noise may leave every count at zero; the shrinkage of means then divides by nothing and rightly keeps nothing.
        with np.errstate(over="ignore", divide="ignore"):
            return MomentsGenerator.from_moments(
                spec,
                settings,
                self.counts,
                self.means,
                self.covariance,
                mean_noise=self.mean_noise,
                covariance_noise=self.covariance_noise,
                of_masks=self.of_masks,
            )


def queries(basis: FeatureBasis, *, some_masks: bool = False) -> dict[str, Query]:
    """The sums with their sensitivities and shares of the moments' budget; public.

    Args:
        basis: Public features.
        some_masks: Whether the policy uses the masks of some.
    """
    residual = RESIDUAL_CLIP * basis.clip_norm
    return {
        COUNTS: Query(1.0, 0.08),
        **({MASKED: Query(1.0, 0.08)} if some_masks else {}),
        SUMS: Query(basis.clip_norm, 0.32),
        SECOND: Query(residual**2, 0.60),
    }


Terms = tuple[Array, npt.NDArray[np.int64], Array]
"""Features (n, D) of a patient's images, their labels (n,), and what is known of the features (n, D): 1, or 0 where masks are not."""


def _patient_terms(patients: TrainingPatients, basis: FeatureBasis) -> Iterator[list[Terms]]:
    """Of each patient, a block of patients at a time."""
    for block in patients.blocks():
        rows = np.concatenate([patients.rows(p) for p in block])
        features = basis.features(*patients.arrays(rows))
        known = np.ones_like(features)
        known[~patients.known_masks(rows), basis.image_dimensions :] = 0.0
        ends = np.cumsum([len(patients.rows(p)) for p in block])[:-1]
        parts = (np.split(each, ends) for each in (features, patients.labels(rows), known))
        yield list(zip(*parts, strict=True))


def _counts(patients: TrainingPatients, classes: int, *, masked: bool = False) -> Iterator[Array]:
    """Of all images of a patient, or of those whose masks are used; as shares of all."""
    for block in patients.blocks():
        own = [patients.rows(p) for p in block]
        counted = [rows[patients.known_masks(rows)] for rows in own] if masked else own
        yield np.stack(
            [
                np.bincount(patients.labels(some), minlength=classes) / len(rows)
                for some, rows in zip(counted, own, strict=True)
            ]
        )


def _sums(patients: TrainingPatients, basis: FeatureBasis, classes: int) -> Iterator[Array]:
    for terms in _patient_terms(patients, basis):
        out = np.zeros((len(terms), classes, basis.dimensions))
        for own, (features, labels, known) in zip(out, terms, strict=True):
            np.add.at(own, labels, features * known / len(features))
        yield out.reshape(len(terms), -1)


def _second(patients: TrainingPatients, basis: FeatureBasis, means: Array, clip: float | None) -> Iterator[Array]:
    upper = np.triu_indices(basis.dimensions)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    for terms in _patient_terms(patients, basis):
        for start in range(0, len(terms), 32):
            part = terms[start : start + 32]
            out = np.empty((len(part), upper[0].size))
            for own, (features, labels, known) in zip(out, part, strict=True):
                with np.errstate(all="ignore"):  # what is not finite is set to zero by the mechanism
                    residual = (features - means[labels]) * known
                    if clip is not None:
                        norms = np.linalg.norm(residual, axis=1, keepdims=True)
                        residual = residual * (clip / np.maximum(norms, clip))
                    own[:] = (residual.T @ residual / len(residual))[upper] * weight
            yield out


def symmetric(upper_values: Array, dimensions: int) -> Array:
    """(D, D) from the weighted upper triangle of :func:`fit_moments`; the inverse of its packing."""
    upper = np.triu_indices(dimensions)
    out = np.zeros((dimensions, dimensions))
    out[upper] = upper_values / np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    return out + out.T - np.diag(np.diag(out))


def class_means(counts: Array, sums: Array, floor: float) -> Array:
    """(K, D) means: sums over counts, a count being at least ``floor``; a class of nobody gets the pooled mean.

    Args:
        counts: (K,) possibly noisy, possibly negative.
        sums: (K, D).
        floor: In patients, > 0; public. About the noise of a count, below which a count tells nothing.
    """
    pooled = sums.sum(axis=0) / max(float(counts.sum()), floor)
    means = sums / np.maximum(counts, floor)[:, None]
    return np.where((counts > 0)[:, None], means, pooled)


def fit_moments(
    patients: TrainingPatients,
    basis: FeatureBasis,
    classes: int,
    *,
    account: Account | None,
    noise: NoiseSource,
    known: Mapping[str, Array] | None = None,
    keep: Callable[[str, Array], None] = lambda name, value: None,
) -> Moments:
    """Fit the moments.

    Args:
        patients: Training patients.
        basis: Public features.
        classes: K.
        account: Pays for each release; None fits exactly and claims nothing.
        noise: Where the normals come from; unused without an account.
        known: Sums already released by an earlier, killed process, by name: never released twice.
        keep: Called with each sum as soon as it is released, to put it on disk.

    Raises:
        IntegrityError: A sum is known that the account does not count.
        BudgetExceeded: A sum was counted by an earlier process but its value is lost; it is not drawn again.
    """
    found = dict(known or {})

    if account is not None and any(account.used(name) != 1 for name in found):
        raise IntegrityError(
            "sums of this run are kept that its account does not count",
            fix="Start a new run; the ledger keeps this one charged in full.",
        )

    def release(name: str, blocks: Iterator[Array], dimension: int) -> Array:
        if name not in found:
            if account is None:
                total = np.zeros(dimension)
                for block in blocks:
                    total += np.where(np.isfinite(block).all(axis=1, keepdims=True), block, 0.0).sum(axis=0)
                found[name] = total
            else:
                found[name] = gaussian_sum(blocks, dimension, name=name, account=account, noise=noise)
            keep(name, found[name])
        return found[name]

    D = basis.dimensions
    counts = release(COUNTS, _counts(patients, classes), classes)
    masked = release(MASKED, _counts(patients, classes, masked=True), classes) if patients.some_masks else counts
    sums = release(SUMS, _sums(patients, basis, classes), classes * D).reshape(classes, D)
    floor = 1e-9 if account is None else max(1.0, _deviation(account, COUNTS))
    means = np.hstack(
        [
            class_means(of, part, floor)
            for of, part in zip((counts, masked), np.split(sums, [basis.image_dimensions], axis=1), strict=True)
        ]
    )
    clip = None if account is None else RESIDUAL_CLIP * basis.clip_norm
    second = release(SECOND, _second(patients, basis, means, clip), D * (D + 1) // 2)

    def noises(of: Array) -> tuple[Array, float]:
        """In means and in the covariance, where this many were counted."""
        across = _deviation(account, SECOND) / max(float(of.sum()), floor) / float(np.sqrt(2.0))
        return _deviation(account, SUMS) / np.maximum(of, floor), across

    total = np.full((D, D), max(float(masked.sum()), floor))
    total[: basis.image_dimensions, : basis.image_dimensions] = max(float(counts.sum()), floor)
    mean_noise, covariance_noise = noises(counts)
    return Moments(
        counts=np.maximum(counts, 0.0),
        means=means,
        covariance=symmetric(second, D) / total,
        mean_noise=mean_noise,
        covariance_noise=covariance_noise,
        of_masks=OfMasks(np.maximum(masked, 0.0), *noises(masked)) if patients.some_masks else None,
    )


def _deviation(account: Account | None, name: str) -> float:
    """Standard deviation of the noise in each element of a release; 0 without privacy. Public."""
    if account is None:
        return 0.0
    planned = account.plan.release(name)
    return planned.mechanism.noise_multiplier * planned.clip_norm
