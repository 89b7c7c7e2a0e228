"""Feature vectors reduced to a few whitened principal components, fitted on the *holdout* alone.

A Fréchet distance in D dimensions needs at least 2 D samples; a small cohort has a few hundred patients. So any
extractor's features are standardised and reduced with the statistics of patients that the generator never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors import Extractor
from synthrelease.features.extractors.radiomics import RadiomicsAndPixels

Array = npt.NDArray[np.float64]

COMPONENTS = 16


@dataclass(frozen=True)
class Reduction:
    """Standardisation and whitened principal axes of feature vectors.

    Attributes:
        centre: (D,) mean. scale: (D,) standard deviation. axes: (D, C) whitened principal axes.
    """

    centre: Array
    scale: Array
    axes: Array

    @classmethod
    def fit(cls, values: Array) -> Reduction:
        """Fit on (N, D) features; components carry unit variance, so that no single one decides a distance."""
        centre, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
        _, singular, axes = np.linalg.svd((values - centre) / scale, full_matrices=False)
        kept = int(min(COMPONENTS, len(values) // 4, (singular > 1e-6 * singular[0]).sum()))
        return cls(centre, scale, axes[:kept].T / (singular[:kept] / np.sqrt(len(values))))

    @property
    def components(self) -> int:
        """C."""
        return int(self.axes.shape[1])

    def __call__(self, values: Array) -> Array:
        """(N, D) features to (N, C)."""
        result: Array = ((values - self.centre) / self.scale) @ self.axes
        return result


@dataclass(frozen=True)
class Embedding:
    """An extractor and a reduction of what it gives.

    Attributes:
        name: What the features are and whom they were fitted on; printed beside every number made with them.
    """

    name: str
    extractor: Extractor
    reduction: Reduction

    @classmethod
    def fit(cls, images: FloatArray, *, fitted_on: str = "holdout", extractor: Extractor | None = None) -> Embedding:
        """Fit the reduction on (N, 1, H, W) images."""
        extractor = extractor or RadiomicsAndPixels()
        reduction = Reduction.fit(extractor(images))
        return cls(described(extractor, reduction, fitted_on), extractor, reduction)

    def __call__(self, images: FloatArray) -> Array:
        """(N, 1, H, W) images to (N, C) features."""
        return self.reduction(self.extractor(images))


def described(extractor: Extractor, reduction: Reduction, fitted_on: str) -> str:
    """The name that is printed beside numbers: extractor, its preprocessing, and whom the components were fitted on."""
    return f"{extractor.name}; PCA-{reduction.components} fitted on {fitted_on}"
