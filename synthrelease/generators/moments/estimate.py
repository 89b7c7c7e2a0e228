"""From noisy moments to usable ones: everything here reads what is already private, so it costs no budget."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class OfMasks(NamedTuple):
    """What is known of masks where they are of fewer images.

    Attributes:
        counts: (C,) patients with masks by class; noise may have made them negative.
        mean_noise: (C,) standard deviation of the noise in each coordinate of the masks' means.
        covariance_noise: The same, in each off-diagonal entry of the covariance that is of a mask.
    """

    counts: Array
    mean_noise: Array
    covariance_noise: float


def shrunken_means(means: Array, counts: Array, noise: Array) -> Array:
    """Pull each class mean toward the common mean, the more the noisier it is (positive-part James-Stein).

    Args:
        means: (C, D) noisy class means.
        counts: (C,) noisy class sizes; below 1 counts as 1.
        noise: (C,) standard deviation of the noise in each coordinate of each class mean.

    Returns:
        (C, D) means; unchanged where there is no noise or only one class.

    Source: Efron, Morris, "Stein's estimation rule and its competitors", JASA 1973.
    """
    shares = np.maximum(counts, 1.0)
    weights = shares / shares.sum()
    common = weights @ means
    apart = means - common
    # Noise of (class mean - common mean): its own share is removed, the other classes' enters.
    variance = (1.0 - weights) ** 2 * noise**2 + (np.sum(weights**2 * noise**2) - weights**2 * noise**2)
    energy = np.maximum(np.sum(apart**2, axis=1), np.finfo(np.float64).tiny)
    keep = np.maximum(0.0, 1.0 - means.shape[1] * variance / energy)
    return np.asarray(common + keep[:, None] * apart, dtype=np.float64)


def denoised_covariance(covariance: Array, noise: float, prior: Array) -> Array:
    """The positive semi-definite covariance that a noisy symmetric matrix speaks of.

    Symmetric noise with off-diagonal standard deviation s spreads eigenvalues over [-2 s sqrt(D), 2 s sqrt(D)]. An
    eigenvalue inside that band tells nothing; one above it, y, stands for x with y = x + s^2 D / x, solved for x. What
    the kept directions leave of the trace is given to the others in the proportions of the public prior, never more
    than the prior itself.

    Args:
        covariance: (D, D), symmetric or nearly so.
        noise: s, at least 0; 0 keeps every positive eigenvalue.
        prior: (D,) public variance of each feature.

    Returns:
        (D, D) symmetric, positive semi-definite.

    Source: Benaych-Georges, Nadakuditi, "The eigenvalues and eigenvectors of finite, low rank perturbations of large
    random matrices", Advances in Mathematics 2011.
    """
    symmetric = (covariance + covariance.T) / 2.0
    values, vectors = np.linalg.eigh(symmetric)
    half_edge = noise * np.sqrt(len(values))
    kept = values > max(2.0 * half_edge, 0.0)
    y, axes = values[kept], vectors[:, kept]
    x = (y + np.sqrt(np.maximum(y**2 - 4.0 * half_edge**2, 0.0))) / 2.0
    outside = np.eye(len(values)) - axes @ axes.T
    rest = outside @ (prior[:, None] * outside)
    room = float(np.trace(rest))
    left = float(np.trace(symmetric)) - float(x.sum())
    share = min(max(left / room, 0.0), 1.0) if room > 0.0 and noise > 0.0 else 0.0
    result = (axes * x) @ axes.T + share * rest
    return np.asarray((result + result.T) / 2.0, dtype=np.float64)


def joined_covariance(covariance: Array, noise: tuple[float, float], prior: Array, images: int) -> Array:
    """The covariance of image and masks where masks are of fewer: the image's own by itself, the rest by what both tell.

    All of it is denoised as if it were as noisy as what is of masks, and then the image's block taken of everybody's images alone.

    Args:
        covariance: (D, D). noise: Of the image's block, and of the rest. prior: (D,), see :func:`denoised_covariance`.
        images: Features that are the image's, and come first.

    Returns:
        (D, D) symmetric; :func:`square_root` takes its positive semi-definite part.
    """
    result = denoised_covariance(covariance, noise[1], prior)
    result[:images, :images] = denoised_covariance(covariance[:images, :images], noise[0], prior[:images])
    return result


def square_root(covariance: Array) -> Array:
    """R (D, D) with R R^T equal to the positive semi-definite part of ``covariance`` (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
