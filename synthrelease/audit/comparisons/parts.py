"""Pieces of images: the likest detail, and how many details agree on one displacement.

Windows are described twice: whitened, and by the public encoder for copies (ULD), which was taught on simulated chests
what a copy may have suffered and finds blurred and noisy pieces that whitening misses. No patient of the audit, of either
side, had a part in it. Of its pairs only what agrees counts: its likest single windows accused innocent archives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from synthrelease.audit.images import FloatArray, ImageSet, IntArray
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.patches import Description, Level, Whitening, at_level, levels
from synthrelease.features.piece_search import (
    EVIDENCE_CEILING,
    Agreement,
    Pairs,
    Pieces,
    Sight,
    like_points,
    likeness,
    usual_evidence,
)
from synthrelease.features.uld.local import LocalNetwork
from synthrelease.features.uld.public import public_encoder

PREPARED_AT_ONCE = 256
"""Probes that are searched at a time; the pairs that they find take some 100 MB."""

NAMES = (("best_patch", "best_patches"), ("fine_patch", "fine_patches"))
"""At 64 px, and at up to 128 px for images that are larger."""
LEARNED = "learned_patches"
"""What agrees through the encoder, at the finer of the levels."""


@dataclass(frozen=True, eq=False)
class _Look:
    """How windows are described, the gallery under that, and what evidence counts.

    Of its likeness rows count from ``first`` on: the likest point, and what agrees.
    """

    describe: Description
    gallery: Pieces
    floor: float
    first: int = 0


def _looks(level: Level, images: FloatArray, owner: IntArray, mixed: IntArray, *, learned: bool) -> tuple[_Look, ...]:
    """At one level, of (N, 1, H, W) images of both sides with the patient of each; ``mixed`` is a random order of them."""
    whitening = Whitening.fit(at_level(images[mixed[: level.fitted // 50]], level), level)
    small, patient = at_level(images, level), torch.from_numpy(owner)
    if not learned:
        gallery = Pieces.of(small, level, whitening)
        return (_Look(whitening, gallery, usual_evidence(gallery, patient)),)
    network = public_encoder("copies").network
    assert isinstance(network, LocalNetwork)
    own, through = Pieces.each(small, level, (whitening, network.described))
    # Strangers' windows are so alike to the network that only the likest pairs can be kept.
    floor = usual_evidence(through, patient, EVIDENCE_CEILING)
    return (
        _Look(whitening, own, usual_evidence(own, patient)),
        _Look(network.described, through, floor, first=1),
    )


class PartComparison:
    """Descriptors of points, anywhere in the image and mirrored; see :mod:`synthrelease.features.patches`.

    Images above 64 px are looked at twice, at 64 and at up to 128 px, and give five names instead of three.
    """

    names: tuple[str, ...]

    def __init__(self, patients: Patients) -> None:
        images = np.concatenate([patients.train.images, patients.holdout.images])
        mixed = np.random.default_rng(20260104).permutation(len(images))
        there = levels(*images.shape[-2:])
        self._looks = [_looks(level, images, patients.column, mixed, learned=level is there[-1]) for level in there]
        self._column, self._patients, self._sides = torch.from_numpy(patients.column), patients.count, patients
        self.names = (*(name for names in NAMES[: len(there)] for name in names), LEARNED)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for start in range(0, len(probes), PREPARED_AT_ONCE):
            block = slice(start, min(start + PREPARED_AT_ONCE, len(probes)))
            tables = [
                likeness(pairs, agreement, block.stop - start, self._column, self._patients)[look.first :]
                for look, pairs, agreement in self._pairs(probes.images[block])
            ]
            yield block, np.concatenate(tables)

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """See :class:`synthrelease.audit.search.Comparison`; at the level at which more agrees.

        What the encoder sees is shown where whitened windows see nothing: evidence of the two is not alike.
        """
        seen = [
            (self._best(look, pairs, column), look.gallery)
            for look, pairs, _ in self._pairs(probes.images[row : row + 1])
        ]
        whitened, learned = seen[:-1], seen[-1]
        sight, gallery = max(whitened, key=lambda each: -1.0 if each[0] is None else each[0].evidence)
        if sight is None:
            sight, gallery = learned
        if sight is None:
            return Sighting(int((self._column == column).nonzero()[0]), 0.0)
        side = gallery.side
        (down, across), box = sight.shift, tuple(value / side for value in sight.box)
        laid = self._laid(probes.images[row : row + 1], sight, gallery.level)
        words = ["mirrored"] * sight.mirrored
        words += [f"{abs(down)} px {'down' if down > 0 else 'up'}"] * (down != 0)
        words += [f"{abs(across)} px to the {'right' if across > 0 else 'left'}"] * (across != 0)
        how = f"a piece, {', '.join(words)} (of {side} px)" if words else "a piece, in the same place"
        how += f"; laid over each other its grey values correlate to {laid:.2f}"
        return Sighting(sight.image, sight.cosine, how, (box[0], box[1], box[2], box[3]))

    def _laid(self, probe: FloatArray, sight: Sight, level: Level) -> float:
        """Normalised correlation of the piece's grey values with those of the real image that it is laid over, -1 to 1.

        What windows agree on is confirmed by the pixels themselves: the annex tells it to the person who looks.
        """
        train, holdout = self._sides.train.images, self._sides.holdout.images
        which = sight.image
        image = train[which : which + 1] if which < len(train) else holdout[which - len(train) :][:1]
        real, made = at_level(image, level)[0], at_level(probe, level)[0]
        real = real[:, ::-1] if sight.mirrored else real
        (top, left, bottom, right), (down, across) = sight.box, sight.shift
        rows, columns = np.arange(max(0, top), bottom), np.arange(max(0, left), right)
        rows = rows[(rows < len(made)) & (rows >= down) & (rows - down < len(real))]
        columns = columns[(columns < made.shape[1]) & (columns >= across) & (columns - across < real.shape[1])]
        pair = np.stack([made[np.ix_(rows, columns)].ravel(), real[np.ix_(rows - down, columns - across)].ravel()])
        pair = pair - pair.mean(axis=1, keepdims=True)
        return float(pair[0] @ pair[1] / max(float(np.linalg.norm(pair[0]) * np.linalg.norm(pair[1])), 1e-12))

    def _pairs(self, probes: FloatArray) -> Iterator[tuple[_Look, Pairs, Agreement]]:
        """Like points of (m, 1, H, W) probes and the gallery, and their agreement, by look; points of a level are found once."""
        for looks in self._looks:
            level = looks[0].gallery.level
            mine = Pieces.each(at_level(probes, level), level, [look.describe for look in looks])
            for look, pieces in zip(looks, mine, strict=True):
                found = like_points(pieces, look.gallery, look.floor)
                yield look, found, Agreement.of(found, look.gallery)

    def _best(self, look: _Look, pairs: Pairs, column: int) -> Sight | None:
        own = pairs.take((self._column[pairs.image] == column).nonzero()[:, 0])
        return Sight.best(own, Agreement.of(own, look.gallery))
