"""The named feature extractor behind distribution distances: radiomics and pixels, reduced by PCA fitted on holdout.

No downloaded network: features of natural images were volatile on medical ones, and a network trained on training
patients would reward copying. First-order statistics, texture, edges and coarse pixels are standardised and reduced
with statistics of the *holdout* alone. Grey levels are kept (a gain error must be seen), so this is no copy descriptor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import FloatArray

Array = npt.NDArray[np.float64]

COMPONENTS = 16
COARSE = 8


def radiomics(images: FloatArray) -> Array:
    """First-order, texture and coarse pixel features.

    Args:
        images: (N, S, S) in [-1, 1], S at least 8.

    Returns:
        (N, D) float64: mean, standard deviation, skewness, kurtosis, 7 percentiles, gradient and Laplacian energy,
        4 autocorrelations, histogram entropy, and an 8 x 8 area average.
    """
    x = images.astype(np.float64)
    flat = x.reshape(len(x), -1)
    mean, deviation = flat.mean(axis=1), flat.std(axis=1)
    centred = (flat - mean[:, None]) / np.maximum(deviation, 1e-6)[:, None]
    quantiles = np.quantile(flat, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], axis=1)
    down, right = np.diff(x, axis=1), np.diff(x, axis=2)
    bend = 4 * x[:, 1:-1, 1:-1] - x[:, :-2, 1:-1] - x[:, 2:, 1:-1] - x[:, 1:-1, :-2] - x[:, 1:-1, 2:]
    square = centred.reshape(x.shape)
    lags = [(square[:, lag:] * square[:, :-lag]).mean(axis=(1, 2)) for lag in (1, 3)] + [
        (square[:, :, lag:] * square[:, :, :-lag]).mean(axis=(1, 2)) for lag in (1, 3)
    ]
    bins = np.clip(((flat + 1.0) * 16).astype(np.int64), 0, 31)
    counts = np.zeros((len(flat), 32))
    np.add.at(counts, (np.arange(len(flat))[:, None], bins), 1.0)
    share = counts / flat.shape[1]
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1)
    energies = [np.log(np.maximum((e**2).mean(axis=(1, 2)), 1e-8)) for e in (down, right, bend)]
    side = x.shape[1] // COARSE
    coarse = x[:, : side * COARSE, : side * COARSE].reshape(len(x), COARSE, side, COARSE, side).mean(axis=(2, 4))
    shape = [
        mean,
        deviation,
        (centred**3).mean(axis=1),
        (centred**4).mean(axis=1),
        *quantiles,
        *energies,
        *lags,
        entropy,
    ]
    return np.column_stack([*shape, coarse.reshape(len(x), -1)])


@dataclass(frozen=True)
class Embedding:
    """Standardisation and principal components of radiomics.

    Attributes:
        name: What the features are and whom they were fitted on; printed beside every number made with them.
        centre: (D,) mean. scale: (D,) standard deviation. axes: (D, C) whitened principal axes.
    """

    name: str
    centre: Array
    scale: Array
    axes: Array

    @classmethod
    def fit(cls, images: FloatArray, *, fitted_on: str = "holdout") -> Embedding:
        """Fit on (N, S, S) images; components carry unit variance, so that no single one decides a distance."""
        values = radiomics(images)
        centre, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
        _, singular, axes = np.linalg.svd((values - centre) / scale, full_matrices=False)
        kept = int(min(COMPONENTS, len(images) // 4, (singular > 1e-6 * singular[0]).sum()))
        whitened = axes[:kept].T / (singular[:kept] / np.sqrt(len(images)))
        return cls(f"radiomics + 8x8 pixels, PCA-{kept} fitted on {fitted_on}", centre, scale, whitened)

    def __call__(self, images: FloatArray) -> Array:
        """(N, S, S) images to (N, C) features."""
        result: Array = ((radiomics(images) - self.centre) / self.scale) @ self.axes
        return result
