"""The second look at a search's best candidates: laid over the probe, then compared in fine detail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from synthrelease.audit.images import FloatArray, IntArray
from synthrelease.features.descriptors import detail, orientations, warp_matrix
from synthrelease.features.neighbours import WARPS, Gallery
from synthrelease.features.registration import Registration

BLOCK = 8
"""Probes whose candidates are registered together: enough to keep the processor busy, few enough for its cache."""

_TURNS = ("", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees")


@dataclass(frozen=True)
class Pose:
    """How a probe sees an image: the best of all templates and windows.

    Attributes:
        similarity: Signed correlation. orientation: 0 to 7. warp: Position in WARPS, -1 for none.
        down, right: Shift in pixels of the search's resolution.
    """

    similarity: float
    orientation: int
    warp: int
    down: int
    right: int

    def words(self, side: int) -> str:
        """What was done to the real image, for people; ``side`` pixels is what the shift is counted in."""
        turns, mirrored = divmod(self.orientation, 2)
        said = [_TURNS[turns], "mirrored" if mirrored else "", "grey inverted" if self.similarity < 0 else ""]
        if self.warp >= 0:
            degrees, scale = WARPS[self.warp]
            said.append(f"turned by {degrees:+.0f} degrees" if degrees else f"zoomed {scale:.1f} times")
        if self.down or self.right:
            said.append(f"moved by {self.down / side:+.0%} down and {self.right / side:+.0%} right")
        return ", ".join(word for word in said if word)

    def start(self, side: int) -> FloatArray:
        """(3, 2) first coefficients of the displacement, for :meth:`Registration.register`."""
        coefficients = np.zeros((3, 2), dtype=np.float32)
        coefficients[0] = np.array([self.down, self.right]) * 2.0 / (side - 1)
        if self.warp >= 0:
            coefficients[1:] = (np.linalg.inv(warp_matrix(*WARPS[self.warp])) - np.eye(2)).T
        return coefficients


def pose(windows: FloatArray, gallery: Gallery, image: int) -> Pose:
    """The best way to see one gallery image in a probe.

    Args:
        windows: (W, D) of the probe. gallery: The search's. image: In the gallery's order.
    """
    plain = windows @ gallery.templates[:, image].T
    sparse = gallery.bank.sparse
    bent = windows[sparse] @ gallery.warps[:, image].T
    first, second = int(np.abs(plain).argmax()), int(np.abs(bent).argmax())
    if abs(plain.flat[first]) >= abs(bent.flat[second]):
        window, orientation = divmod(first, plain.shape[1])
        return Pose(float(plain.flat[first]), orientation, -1, *gallery.bank.shift(window))
    window, version = divmod(second, bent.shape[1])
    warp, orientation = divmod(version, len(gallery.templates))
    return Pose(float(bent.flat[second]), orientation, warp, *gallery.bank.shift(int(sparse[window])))


class SecondLook:
    """Real images, in the gallery's order, ready to be laid under probes.

    Args:
        images: (N, S, S) at the resolution of detail, in the gallery's order. gallery: The search's.
    """

    def __init__(self, images: FloatArray, gallery: Gallery) -> None:
        self._gallery = gallery
        self._geometry = Registration(images.shape[-1])
        self._images = images
        self._smooth = self._geometry.smooth(torch.from_numpy(images)).numpy()

    def scores(self, probes: FloatArray, windows: FloatArray, candidates: IntArray) -> FloatArray:
        """Agreement in fine detail after registration.

        Args:
            probes: (m, S, S). windows: (m, W, D) of the same probes. candidates: (m, K) gallery images.

        Returns:
            (m, K) float32 in [0, 1].
        """
        side, search = self._geometry, self._gallery.bank.side
        if len(probes) > BLOCK:
            parts = [slice(i, i + BLOCK) for i in range(0, len(probes), BLOCK)]
            return np.concatenate([self.scores(probes[b], windows[b], candidates[b]) for b in parts])
        poses = [
            pose(windows[probe], self._gallery, int(image)) for probe, row in enumerate(candidates) for image in row
        ]
        turned = np.array([p.orientation for p in poses])
        below = _oriented(self._images[candidates.ravel()], turned)
        templates = torch.from_numpy(_oriented(self._smooth[candidates.ravel()], turned))
        sign = torch.tensor([1.0 if p.similarity >= 0 else -1.0 for p in poses])[:, None, None]
        above = torch.from_numpy(probes)
        which = torch.arange(len(probes)).repeat_interleave(candidates.shape[1])
        start = torch.from_numpy(np.stack([p.start(search) for p in poses]))
        moved = side.register(side.smooth(above)[which] * sign, templates, start)
        seen = detail(side.read(above[which] * sign, moved).numpy())
        margin = side.margin
        wanted = detail(below[:, margin : side.side - margin, margin : side.side - margin])
        agreement = np.einsum("nd,nd->n", seen, wanted).reshape(candidates.shape)
        return np.asarray(np.clip(agreement, 0.0, 1.0), dtype=np.float32)


def _oriented(images: FloatArray, orientation: IntArray) -> FloatArray:
    """Each of the images (N, S, S) in its own orientation (N,), 0 to 7."""
    turned = np.empty_like(images)
    for number in np.unique(orientation):
        chosen = orientation == number
        turned[chosen] = orientations(images[chosen])[number]
    return turned
