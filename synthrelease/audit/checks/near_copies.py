"""Near copies: changed in grey, noise, orientation, place or size, but a training patient's image all the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.copies import ALPHA, Flags, FusedCopyTest
from synthrelease.audit.intervals import lower_bound, upper_bound
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.search import Matches
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

MINIMUM_SYNTHETIC = 30
CORE = ("exact", "gain", "inversion", "blur", "hflip", "rot90", "shift_1", "shift_8", "composite")
FINE = ("noise_5_percent", "rotate_5", "mix_70")
BEYOND = ("zoom", "elastic", "mix_50")
"""Known copies. The residual bound speaks for the core, and for the fine ones where there is detail enough to tell
them from strangers; of the others the recall is told."""

LEAST_SIDE_OF_FINE = 48
"""Pixels on a side from which on copies are found that only fine detail gives away. At 64 px at least 199 of 200 are
among 600 patients, zoomed ones too, which get lost among the candidates where there are thousands;
at 32 px a noisy copy, one turned by degrees, zoomed or mixed is mostly lost among strangers."""

NAME = "share of synthetic images that are copies, at most"


def covered(case: AuditCase) -> tuple[str, ...]:
    """Copies that the residual bound speaks for at the size of the images; fixed before anything is measured."""
    side = min(case.synthetic.images.shape[-2:])
    return CORE + FINE if side >= LEAST_SIDE_OF_FINE else CORE


def image_p(case: AuditCase, probes: Mapping[str, Matches] | None = None) -> npt.NDArray[np.float64]:
    """p-value of each image, (n,), over all ways of comparing whole images; not corrected for the number of images.

    Args:
        case: With a holdout. probes: What the images saw in ``case.search("whole")``; None: the synthetic images.
    """
    search = case.search("whole")
    test = FusedCopyTest.towards_train(search.synthetic, search.holdout)
    return test.p(search.synthetic if probes is None else probes)


class NearCopies:
    """One p-value per synthetic image, Holm over the archive, and a bound on what the test may have missed."""

    id = "near_copies"
    question = (
        "Is a synthetic image a changed copy (grey, noise, mirrored, turned, shifted, zoomed) of a training patient's?"
    )
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = True
    explanation = Explanation(
        how="Every synthetic image is laid over every real one, in eight orientations, shifted, and the likeliest also "
        "turned by degrees, zoomed and bent. What counts is how much more it resembles a training patient than any of "
        "as many held-out patients, held against how much strangers ever do; known copies planted in a duplicate of "
        "the archive show what would have been found.",
        good="No image is flagged, every kind of planted copy is found, and the bound on the share of copies that may "
        "have been missed is below the threshold.",
        weakness="It looks at whole images: a pasted lesion or half an image belongs to local_copies. Strongly bent copies, "
        "even mixtures of two patients and, among thousands of patients, zoomed copies are found often, not always; in "
        "images below 48 pixels also noisy, zoomed and slightly turned copies are mostly missed. It says nothing about "
        "another image of the same patient, and a far neighbour clears nobody.",
        source="Margin against a holdout with a conservative exponential tail; normalised correlation with a template "
        "search and inverse compositional registration (Baker and Matthews, IJCV 2004); Holm 1979; Clopper-Pearson.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Flag copies; bound the rate by Clopper-Pearson over the lower bound of the worst planted recall."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        count = len(case.synthetic)
        if count < MINIMUM_SYNTHETIC:
            return unable(NAME, Direction.LOWER, f"{count} synthetic images; at least {MINIMUM_SYNTHETIC} are needed")
        search = case.search("whole")
        synthetic, holdout = search.synthetic, search.holdout
        test = FusedCopyTest.towards_train(synthetic, holdout)
        p = test.p(synthetic)
        flags = Flags.of(p, FusedCopyTest.towards_holdout(synthetic, holdout).p(synthetic, -1))
        copies, decoys = flags.copies, flags.decoys

        recall: dict[str, float] = {}
        worst = 0.0
        missed: tuple[str, ...] = ("not measured",)
        bounded = covered(case)
        if case.measures_power:
            found = {name: test.p(case.planted("whole", name)) * count <= ALPHA for name in CORE + FINE + BEYOND}
            recall = {name: float(hits.mean()) for name, hits in found.items()}
            worst = min(lower_bound(int(found[name].sum()), len(found[name])) for name in bounded)
            missed = tuple(sorted(name for name in bounded if recall[name] < 0.5))
        high = min(1.0, upper_bound(copies, count) / worst) if worst > 0 else 1.0
        details = {
            "copies_flagged": copies,
            "decoys_flagged": decoys,
            "worst_recall_lower_bound": worst,
            "smallest_p": float(p.min()),
            "flagged_by": {
                name: int(np.sum(each * len(test.tests) * count <= ALPHA))
                for name, each in test.each(synthetic).items()
            },
            "bound_covers": sorted(bounded),
        }
        note = f"{copies} of {count} synthetic images flagged; at most {high:.2%} copies of the planted kinds"
        statistic = Statistic(NAME, copies / count, lower_bound(copies, count), high, 0.95, Direction.LOWER)
        return Measurement(
            statistic,
            Baseline(holdout=decoys / count, random=0.0),
            Power(upper_bound(0, count) / worst if worst > 0 else None, "share of synthetic images", recall),
            case.counts,
            p_value=flags.smallest,
            unable=flags.unable,
            doubt=flags.doubt,
            controls_missed=missed,
            note=note,
            details=details,
        )
