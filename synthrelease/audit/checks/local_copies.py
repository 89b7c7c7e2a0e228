"""Local copies: a piece of a training patient's image, whatever the rest of the synthetic image shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.copies import ALPHA, Flags, FusedCopyTest
from synthrelease.audit.intervals import lower_bound, upper_bound
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.search import Matches
from synthrelease.features.patches import WINDOW, least_piece
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

MINIMUM_SYNTHETIC = 30
SQUARE = 0.25
"""Side of the planted squares as a share of the image's."""

HALF = "half_image"
COVERED_SQUARES = ("patch_in_place",)
"""Pieces that the residual bound speaks for, besides halves."""

BEYOND_SQUARES = ("patch_moved", "patch_mirrored", "patch_gain")
"""Pieces whose recall is told."""

NAME = "share of synthetic images that hold a piece of a training image, at most"


def image_p(case: AuditCase, probes: Mapping[str, Matches] | None = None) -> Array:
    """p-value of each image, fused over the comparisons.

    Args:
        case: With a holdout. probes: What ``case.search("parts").probe`` saw; None: the synthetic images.

    Returns:
        (n,) of "this image holds no piece of a training image".
    """
    search = case.search("parts")
    test = FusedCopyTest.towards_train(search.synthetic, search.holdout)
    return test.p(search.synthetic if probes is None else probes)


class LocalCopies:
    """One p-value per synthetic image, Holm over the archive, and a bound on what the test may have missed."""

    id = "local_copies"
    question = "Does a synthetic image hold a piece of a training patient's image: a half, a lesion, a pasted square?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = True
    explanation = Explanation(
        how="Small windows around distinct points of each synthetic image are compared with those of all training "
        "patients and of as many patients never seen, at every place and mirrored: by grey values, and through a network "
        "that was taught on simulated chests what a copy may have suffered. What counts is how much better the best "
        "window, and the windows that moved together, fit a training patient than a stranger.",
        good="No image fits a training patient much better than real strangers fit each other, and planted squares of a "
        "quarter of the side and halves are found.",
        weakness="Pieces narrower than about 13 pixels, flat background, and small pieces that were also rotated, rescaled, "
        "blurred or made noisy are missed; images are compared at 64 and at 128 pixels on a side at most. Lettering "
        "that two patients share is likeness too, and is excused only when strangers share it.",
        source="Target-decoy copy test with a conservative exponential tail (audit notes 3.3 A, C, D); whitened "
        "descriptors, and local discrimination (Chen et al., TPAMI 2023), at extrema of a band-pass filter; consensus on "
        "one displacement (Lowe 2004).",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Flag local copies; bound their rate by Clopper-Pearson over the lower bound of the worst planted recall."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        count, (height, width) = len(case.synthetic), case.synthetic.images.shape[-2:]
        if count < MINIMUM_SYNTHETIC:
            return unable(NAME, Direction.LOWER, f"{count} synthetic images; at least {MINIMUM_SYNTHETIC} are needed")
        least = least_piece(height, width)
        if least > 0.5:
            reason = (
                f"images of {width} x {height} pixels: a half of one cannot hold several windows of {WINDOW} pixels"
            )
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        search = case.search("parts")
        synthetic, holdout = search.synthetic, search.holdout
        test = FusedCopyTest.towards_train(synthetic, holdout)
        p = test.p(synthetic)
        flags = Flags.of(p, FusedCopyTest.towards_holdout(synthetic, holdout).p(synthetic, -1))
        copies, decoys = flags.copies, flags.decoys

        squares = least <= SQUARE
        covered = (HALF, *(COVERED_SQUARES if squares else ()))
        found = {
            name: test.p(case.planted("parts", name)) * count <= ALPHA
            for name in (*covered, *(BEYOND_SQUARES if squares else ()))
            if case.measures_power
        }
        recall = {name: float(hits.mean()) for name, hits in found.items()}
        worst = min((lower_bound(int(found[n].sum()), len(found[n])) for n in covered if n in found), default=0.0)
        high = min(1.0, upper_bound(copies, count) / worst) if worst > 0 else 1.0
        smallest = SQUARE if squares else 0.5
        note = (
            f"{copies} of {count} synthetic images flagged; at most {high:.2%} hold a piece of the planted kinds; pieces "
            f"below {smallest:.0%} of the side were not planted and those below {least:.0%} cannot be seen"
        )
        return Measurement(
            Statistic(NAME, copies / count, lower_bound(copies, count), high, 0.95, Direction.LOWER),
            Baseline(holdout=decoys / count, random=0.0),
            Power(upper_bound(0, count) / worst if worst > 0 else None, "share of synthetic images", recall),
            case.counts,
            p_value=flags.smallest,
            unable=flags.unable,
            doubt=flags.doubt,
            controls_missed=tuple(sorted(n for n in covered if recall.get(n, 0.0) < 0.5)),
            note=note,
            details={
                "copies_flagged": copies,
                "decoys_flagged": decoys,
                "worst_recall_lower_bound": worst,
                "smallest_p": float(p.min()),
                "bound_covers": sorted(covered),
                "least_piece_share_of_side": least,
            },
        )
