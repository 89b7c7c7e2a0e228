"""First-order statistics, texture and coarse pixels: the extractor that needs no weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import FloatArray, at_audit_resolution

Array = npt.NDArray[np.float64]
COARSE = 8


@dataclass(frozen=True)
class RadiomicsAndPixels:
    """80 numbers an image, at the resolution of the copy search. Grey levels are kept: a gain error must be seen."""

    name: str = "radiomics + 8x8 pixels of area-averaged images, fixed grey window, fitted on nobody"

    def __call__(self, images: FloatArray) -> Array:
        """(N, 1, H, W) in [-1, 1] to (N, D)."""
        return radiomics(at_audit_resolution(images))


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
