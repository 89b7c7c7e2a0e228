"""Descriptors that make a copied image findable after it was turned, mirrored, shifted, rescaled in grey or made noisy.

A window of an image becomes the low-frequency coefficients of its cosine transform without the constant one, weighted
by their frequency, at unit length. Then

    dot product of two descriptors = Pearson correlation of the two windows, band-passed,

so that a gain and an offset of the grey scale cannot be seen (the constant coefficient is dropped, the length is one),
pixel noise hardly can (it lives in the coefficients that are left out) and the slow shading that all patients of a
body part share counts less than the detail that tells them apart (the frequency weight; natural images have spectra
near 1/f, which the weight flattens with a public constant instead of one that is fitted to patients).

Searching shifts and turns happens on *valid* windows: the middle of the gallery image slides over the probe, and each
position is normalised by itself. Circular shifts or padding would compare borders and inflate the null distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

FloatArray = npt.NDArray[np.float32]

AUDIT_RESOLUTION = 32
"""Pixels on a side at which copies are searched; larger images are area-averaged, smaller ones stay as they are."""

DETAIL_RESOLUTION = 64
"""Pixels on a side at which candidates are laid over each other and fine detail is compared."""

DETAIL_WEIGHT = 1.2
"""Exponent of the frequency weight of fine detail: a little more than flat, for the finest is what two people share least."""

DETAIL_FLOOR = 4.0
"""Half periods per image below which detail does not look: how a body part is shaped at large is common to all."""

FREQUENCIES = 10
"""Cosine frequencies per axis that a descriptor keeps. Of 8, 10 and 12 on 32 px phantoms: 12 loses noisy and blurred
copies, 8 loses mixed ones; exact, grey-changed, mirrored, turned and shifted copies are found by all three."""

FREQUENCY_WEIGHT = 1.0
"""Exponent of the frequency weight; 1 flattens a 1/f amplitude spectrum."""

ORIENTATIONS = 8
"""The turns by 0, 90, 180, 270 degrees, each also mirrored."""


def at_audit_resolution(images: FloatArray, resolution: int = AUDIT_RESOLUTION) -> FloatArray:
    """Area-average images to a resolution of the copy search.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1]. resolution: Most pixels on a side.

    Returns:
        (N, S, S) float32 with S = min(H, W, resolution).
    """
    side = min(images.shape[-2], images.shape[-1], resolution)
    if images.shape[-2:] == (side, side):
        return np.ascontiguousarray(images[:, 0], dtype=np.float32)
    averaged = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(images)), side)
    return np.ascontiguousarray(averaged[:, 0].numpy(), dtype=np.float32)


def orientations(images: FloatArray) -> FloatArray:
    """All eight turned and mirrored versions: (N, S, S) to (8, N, S, S); version 0 is the image itself."""
    turned = [np.rot90(images, turns, axes=(1, 2)) for turns in range(4)]
    return np.ascontiguousarray(np.stack([version for t in turned for version in (t, t[:, :, ::-1])]))


def cosine_basis(side: int) -> FloatArray:
    """Weighted low-frequency cosine basis of a square window.

    Args:
        side: Pixels on a side of the window.

    Returns:
        (side * side, D) float32; column (u, v) is the orthonormal DCT-II function times sqrt(u² + v²), without (0, 0).
    """
    kept = min(FREQUENCIES, max(2, side // 2))
    grid = (np.arange(side) + 0.5) * np.pi / side
    axis = np.cos(np.outer(grid, np.arange(kept))) * np.sqrt(2.0 / side)
    axis[:, 0] /= np.sqrt(2.0)
    u, v = np.meshgrid(np.arange(kept), np.arange(kept), indexing="ij")
    weight = np.hypot(u, v) ** FREQUENCY_WEIGHT
    basis = np.einsum("yu,xv,uv->yxuv", axis, axis, weight).reshape(side * side, kept * kept)
    return np.ascontiguousarray(basis[:, 1:], dtype=np.float32)


def detail(images: FloatArray) -> FloatArray:
    """Descriptors of fine detail: the cosine coefficients of the whole image, up to half the sampling rate.

    Two strangers agree in hardly any of these about a thousand numbers, so that even half of an image mixed into
    another stands out; but a pixel of misplacement destroys the agreement.

    Args:
        images: (N, S, S).

    Returns:
        (N, D) float32 of unit length, D = (S / 2) squared; coefficient (u, v) weighs sqrt(u² + v²) to the power of
        1.2, those with sqrt(u² + v²) below 4 weigh nothing.
    """
    side = images.shape[-1]
    kept = max(2, side // 2)
    grid = (np.arange(side) + 0.5) * np.pi / side
    axis = (np.cos(np.outer(grid, np.arange(kept))) * np.sqrt(2.0 / side)).astype(np.float32)
    axis[:, 0] /= np.sqrt(2.0)
    frequency = np.hypot(*np.meshgrid(np.arange(kept), np.arange(kept), indexing="ij"))
    weight = np.where(frequency >= min(DETAIL_FLOOR, kept / 4), frequency**DETAIL_WEIGHT, 0.0).astype(np.float32)
    coefficients = np.matmul(axis.T, np.matmul(images, axis)) * weight
    return unit_length(coefficients.reshape(len(images), -1))


def warped(images: FloatArray, degrees: float, scale: float) -> FloatArray:
    """Images (N, S, S) turned by ``degrees`` and enlarged ``scale`` times about their middle, the border repeated."""
    inverse = warp_matrix(degrees, scale)
    theta = torch.zeros(1, 2, 3)
    # The affine grid of torch takes columns before rows.
    theta[0, :, :2] = torch.from_numpy(np.ascontiguousarray(inverse[::-1, ::-1]))
    grid = torch.nn.functional.affine_grid(theta, [1, 1, *images.shape[-2:]], align_corners=True)
    read = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(images))[None], grid, padding_mode="border", align_corners=True
    )
    return np.ascontiguousarray(read[0].numpy(), dtype=np.float32)


def warp_matrix(degrees: float, scale: float) -> FloatArray:
    """(2, 2) where :func:`warped` reads (row, column) from, about the middle."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(turn / scale, dtype=np.float32)


def unit_length(vectors: FloatArray) -> FloatArray:
    """Scale vectors along the last axis to length one; a flat window (no detail at all) becomes zero, not noise."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-4, vectors / np.maximum(length, 1e-4), 0.0).astype(np.float32)


@dataclass(frozen=True)
class TemplateBank:
    """Geometry of the search: images of ``side`` pixels, shifted by up to ``margin`` pixels on each axis."""

    side: int

    @property
    def margin(self) -> int:
        """Largest shift searched, in pixels: one eighth of the side."""
        return max(1, self.side // 8)

    @property
    def sparse(self) -> npt.NDArray[np.int64]:
        """Every second shift on both axes, as positions among all shifts; enough to find a candidate by."""
        each = np.arange(0, 2 * self.margin + 1, 2)
        return (each[:, None] * (2 * self.margin + 1) + each[None, :]).ravel()

    def shift(self, window: int) -> tuple[int, int]:
        """Pixels down and right of a window, from its position among all shifts."""
        down, right = divmod(window, 2 * self.margin + 1)
        return down - self.margin, right - self.margin

    def templates(self, images: FloatArray) -> FloatArray:
        """Descriptors of the middles of gallery images in all orientations: (N, S, S) to (8, N, D)."""
        m = self.margin
        middle = orientations(images)[:, :, m : self.side - m, m : self.side - m]
        flat = middle.reshape(ORIENTATIONS * len(images), -1)
        return unit_length(flat @ cosine_basis(self.side - 2 * m)).reshape(ORIENTATIONS, len(images), -1)

    def windows(self, images: FloatArray) -> FloatArray:
        """Descriptors of every shifted window of probe images: (N, S, S) to (N, (2 margin + 1)², D)."""
        width = self.side - 2 * self.margin
        views = np.lib.stride_tricks.sliding_window_view(images, (width, width), axis=(1, 2))
        flat = views.reshape(len(images) * views.shape[1] * views.shape[2], width * width)
        return unit_length(flat @ cosine_basis(width)).reshape(len(images), views.shape[1] * views.shape[2], -1)


def fisher_z(similarity: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Variance-stabilised correlation, atanh(r), with r capped at 0.9995 so that an exact copy stays finite.

    >>> [round(float(z), 3) for z in fisher_z(np.array([0.0, 0.5, 1.0]))]
    [0.0, 0.549, 4.147]
    """
    return np.arctanh(np.clip(np.asarray(similarity, dtype=np.float64), -0.9995, 0.9995))
