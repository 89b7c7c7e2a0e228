"""A public, low-frequency cosine basis of image and masks.

Nothing here is measured on a cohort. An image (and each mask) is written as its orthonormal two-dimensional cosine
coefficients of low frequency, each divided by a power of the spread that natural images have at that frequency::

    spread(u, v) = 0.13 / (1 + r),   r = sqrt(u^2 + v^2)     root-mean-square pixel units
    feature      = coefficient / resolution / spread^(3/4)

Natural scenes have amplitude spectra that fall like one over frequency (Field 1987), radiographs and the outlines of
organs among them; 0.13 gives an image the overall contrast 0.3 to 0.4 on the range [-1, 1]. Noise that is added
equally to all features is then strong where images vary much and weak where they vary little. A power of 1 would
spread it exactly like natural images; a power of 1/2 makes the noise's total energy smallest; 3/4 is between.

Source: Ahmed, Natarajan, Rao, "Discrete cosine transform", IEEE Trans. Computers 1974; Field, "Relations between the
statistics of natural images and the response properties of cortical cells", JOSA A 1987.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from synthrelease.generators.protocol import Spec

Array = npt.NDArray[np.float64]

CONTRAST = 0.13
POWER = 0.75
MASK_CENTRE = 0.25


class Frequencies(Protocol):
    """The settings that a basis needs; both generators' settings have them."""

    @property
    def image_frequencies(self) -> int: ...
    @property
    def mask_frequencies(self) -> int: ...


def _spread(frequencies: int) -> Array:
    """Public prior spread of each kept coefficient, (frequencies * frequencies,), root-mean-square pixel units."""
    axis = np.arange(frequencies, dtype=np.float64)
    return (CONTRAST / (1.0 + np.hypot(axis[:, None], axis[None, :]))).ravel()


class Basis:
    """Features of images and masks, and back.

    Args:
        spec: Shape of what is described.
        settings: Number of frequencies per axis; more than the resolution are cut to it.

    Attributes:
        dimensions: D, length of one image's features: image coefficients, then each mask's.
        image_dimensions: How many of them are the image's.
        prior_spread: (D,) public standard deviation of each feature under the power law.
        clip_norm: Public bound for the length of one feature vector; twice the length the power law expects, since
            the mean image counts too.
    """

    def __init__(self, spec: Spec, settings: Frequencies) -> None:
        self.spec = spec
        self._image = min(settings.image_frequencies, spec.resolution)
        self._mask = min(settings.mask_frequencies, spec.resolution)
        spread = np.concatenate([_spread(self._image), *[_spread(self._mask)] * spec.segments])
        self._scale: Array = 1.0 / (spec.resolution * spread**POWER)
        self.dimensions: int = spread.size
        self.image_dimensions: int = self._image**2
        self.prior_spread: Array = spread ** (1.0 - POWER)
        expected_length = float(np.sqrt(np.sum(self.prior_spread**2)))
        self.clip_norm: float = 2.0 * expected_length

    def features(self, images: npt.ArrayLike, masks: npt.ArrayLike) -> Array:
        """Describe images with their masks.

        Args:
            images: (N, 1, H, W) in [-1, 1].
            masks: (N, K, H, W) in [0, 1]; K may be 0.

        Returns:
            (N, D) features, in units that the module's docstring explains.
        """
        pictures = np.asarray(images, dtype=np.float64)
        shares = np.asarray(masks, dtype=np.float64) - MASK_CENTRE
        parts = [self._low(pictures[:, 0], self._image)]
        parts += [self._low(shares[:, k], self._mask) for k in range(self.spec.segments)]
        return np.concatenate(parts, axis=1) * self._scale

    def inverse(self, features: Array) -> tuple[Array, Array]:
        """Images (N, 1, H, W) and masks (N, K, H, W) with these features (N, D); their ranges are not limited."""
        coefficients = features / self._scale
        n, first = self._image**2, self._mask**2
        images = self._picture(coefficients[:, :n], self._image)[:, None]
        size = self.spec.resolution
        masks = np.empty((len(features), self.spec.segments, size, size))
        for k in range(self.spec.segments):
            part = coefficients[:, n + k * first : n + (k + 1) * first]
            masks[:, k] = self._picture(part, self._mask) + MASK_CENTRE
        return images, masks

    def _low(self, pictures: Array, frequencies: int) -> Array:
        low = dctn(pictures, axes=(1, 2), norm="ortho")[:, :frequencies, :frequencies]
        return np.asarray(low, dtype=np.float64).reshape(len(pictures), -1)

    def _picture(self, coefficients: Array, frequencies: int) -> Array:
        size = self.spec.resolution
        full = np.zeros((len(coefficients), size, size))
        full[:, :frequencies, :frequencies] = coefficients.reshape(-1, frequencies, frequencies)
        return np.asarray(idctn(full, axes=(1, 2), norm="ortho"), dtype=np.float64)
