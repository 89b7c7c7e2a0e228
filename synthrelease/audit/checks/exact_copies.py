"""Exact copies: a count, no statistics."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.measurement import Explanation, Measurement
from synthrelease.audit.planted import one_of_each_patient
from synthrelease.features.descriptors import orientations
from synthrelease.features.neighbours import equal_pairs
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

TOLERANCE = 2.0 / 255.0 + 1e-4
"""One step of an 8-bit grey scale over [-1, 1]: storing an image again may move a pixel by that much."""


BLANK = 1e-3
"""Standard deviation (grey range 2) at which a picture shows nothing: two blank pictures are nobody's."""


class ExactCopies:
    """Decoded pixels equal, byte for byte as stored or to within one grey level in any of eight orientations."""

    id = "exact_copies"
    question = "Is a synthetic image pixel for pixel an image of a training patient, as it is, mirrored or turned?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = False
    explanation = Explanation(
        how="Every synthetic image is compared with every training image: stored pixels by their digest, and decoded pixels "
        "at audit resolution to within one grey level, as they are, mirrored and turned.",
        good="None is equal. It is a count over the whole archive, not an estimate.",
        weakness="Any change beyond one grey level, a shift by a pixel or a zoom escapes it; near_copies looks for those.",
        source="Counting; identical-match share as in the usual release tests, over eight orientations.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count synthetic images that equal a training image; the archive is judged whole, so the count is exact."""
        by_digest, by_pixels = _copies(case.synthetic, case.train)
        copies = sorted(set(by_digest) | set(by_pixels))
        chance: float | None = None
        if case.holdout is not None:
            held_digest, held_pixels = _copies(case.synthetic, case.holdout)
            chance = float(len(set(held_digest) | set(held_pixels)))
        planted = one_of_each_patient(case.train.patient, 16, rng)
        turned = orientations(case.train.small[planted])
        probes = np.stack([turned[i % 8, i] for i in range(len(planted))])
        found, _ = equal_pairs(probes, case.train.small, TOLERANCE)
        recall = len(found) / len(planted)
        count = float(len(copies))
        return Measurement(
            Statistic("synthetic images equal to a training image", count, count, count, 1.0, Direction.LOWER),
            Baseline(holdout=chance),
            Power(1.0 / len(case.synthetic), "share of synthetic images", {"exact_any_orientation": recall}),
            case.counts,
            controls_missed=() if recall == 1.0 else ("exact_any_orientation",),
            note=f"{len(copies)} of {len(case.synthetic)} synthetic images equal a training image",
            details={"equal_as_stored": len(by_digest), "equal_within_one_grey_level": len(by_pixels)},
        )


def _copies(synthetic: ImageSet, real: ImageSet) -> tuple[list[int], list[int]]:
    """Synthetic images whose stored pixels are a real image's, and those equal at audit resolution."""
    known = {digest for digest in real.digests if digest}
    textured = synthetic.images.std(axis=(1, 2, 3)) > BLANK
    stored = [i for i, digest in enumerate(synthetic.digests) if digest in known and textured[i]]
    shown = np.flatnonzero(synthetic.small.std(axis=(1, 2)) > BLANK)
    seen = np.flatnonzero(real.small.std(axis=(1, 2)) > BLANK)
    if not len(shown) or not len(seen):
        return stored, []
    pixels, _ = equal_pairs(synthetic.small[shown], real.small[seen], TOLERANCE)
    return stored, [int(shown[i]) for i in pixels]
