"""Pieces of images: the likest detail, and how many details agree on one displacement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from synthrelease.audit.images import FloatArray, ImageSet, IntArray
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.patches import Description, Level, Whitening, at_level, levels
from synthrelease.features.piece_search import Agreement, Pairs, Pieces, Sight, like_points, likeness, usual_evidence

PREPARED_AT_ONCE = 256
"""Probes that are searched at a time; the pairs that they find take some 100 MB."""

NAMES = (("best_patch", "best_patches"), ("fine_patch", "fine_patches"))
"""At 64 px, and at up to 128 px for images that are larger."""


@dataclass(frozen=True, eq=False)
class _Look:
    """The gallery at one level, how windows are described there, and what evidence counts."""

    level: Level
    describe: Description
    gallery: Pieces
    floor: float

    @classmethod
    def at(cls, level: Level, images: FloatArray, owner: IntArray, mixed: IntArray) -> _Look:
        """Of (N, 1, H, W) images of both sides with the patient of each; ``mixed`` is a random order of them."""
        whitening = Whitening.fit(at_level(images[mixed[: level.fitted // 50]], level), level)
        gallery = Pieces.of(at_level(images, level), level, whitening)
        return cls(level, whitening, gallery, usual_evidence(gallery, torch.from_numpy(owner)))

    def pairs(self, probes: FloatArray) -> tuple[Pairs, Agreement]:
        """Like points of (m, 1, H, W) probes and the gallery, and their agreement."""
        mine = Pieces.of(at_level(probes, self.level), self.level, self.describe)
        found = like_points(mine, self.gallery, self.floor)
        return found, Agreement.of(found, self.gallery)


class PartComparison:
    """Descriptors of points, anywhere in the image and mirrored; see :mod:`synthrelease.features.patches`.

    Images above 64 px are looked at twice, at 64 and at up to 128 px, and give four names instead of two.
    """

    names: tuple[str, ...]

    def __init__(self, patients: Patients) -> None:
        images = np.concatenate([patients.train.images, patients.holdout.images])
        mixed = np.random.default_rng(20260104).permutation(len(images))
        self._looks = [_Look.at(level, images, patients.column, mixed) for level in levels(*images.shape[-2:])]
        self._column, self._patients = torch.from_numpy(patients.column), patients.count
        self.names = tuple(name for names in NAMES[: len(self._looks)] for name in names)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for start in range(0, len(probes), PREPARED_AT_ONCE):
            block = slice(start, min(start + PREPARED_AT_ONCE, len(probes)))
            tables = [
                likeness(*look.pairs(probes.images[block]), block.stop - start, self._column, self._patients)
                for look in self._looks
            ]
            yield block, np.concatenate(tables)

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """See :class:`synthrelease.audit.search.Comparison`; at the level at which more agrees."""
        seen = [(self._seen(look, probes.images[row : row + 1], column), look.gallery.side) for look in self._looks]
        sight, side = max(seen, key=lambda each: -1.0 if each[0] is None else each[0].evidence)
        if sight is None:
            return Sighting(int((self._column == column).nonzero()[0]), 0.0)
        (down, across), box = sight.shift, tuple(value / side for value in sight.box)
        words = ["mirrored"] * sight.mirrored
        words += [f"{abs(down)} px {'down' if down > 0 else 'up'}"] * (down != 0)
        words += [f"{abs(across)} px to the {'right' if across > 0 else 'left'}"] * (across != 0)
        how = f"a piece, {', '.join(words)} (of {side} px)" if words else "a piece, in the same place"
        return Sighting(sight.image, sight.cosine, how, (box[0], box[1], box[2], box[3]))

    def _seen(self, look: _Look, probe: FloatArray, column: int) -> Sight | None:
        pairs, _ = look.pairs(probe)
        own = pairs.take((self._column[pairs.image] == column).nonzero()[:, 0])
        return Sight.best(own, Agreement.of(own, look.gallery))
