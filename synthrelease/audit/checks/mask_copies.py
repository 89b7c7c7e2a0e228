"""Mask copies: a fresh image that carries the outline of a training patient's organ or lesion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.comparisons.shapes import MaskShapes
from synthrelease.audit.copies import ALPHA, CopyTest, Flags, margins
from synthrelease.audit.images import BoolArray, ImageSet
from synthrelease.audit.intervals import lower_bound, upper_bound
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.permutation import permutation_p
from synthrelease.audit.planted import PLANTS, planted
from synthrelease.audit.search import Matches
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

MINIMUM_SYNTHETIC = 30
MINIMUM_STRANGERS = 25
"""Null scores that the tail needs."""

PERMUTATIONS = 999
COVERED = ("mask_exact", "mask_flip", "mask_shift", "mask_dilated")
NAME = "share of synthetic images with a copied mask, at most"


@dataclass(frozen=True, eq=False)
class _Views:
    """The names that can be tested, and what each can say of whom.

    Attributes:
        towards_train, towards_holdout: The copy tests, by name.
        seen: What assessable synthetic masks saw, by name: for the population as a whole.
        least: Most that strangers may share a shape by chance, for one mask alone to prove anything.
    """

    shapes: MaskShapes
    towards_train: Mapping[str, CopyTest]
    towards_holdout: Mapping[str, CopyTest]
    seen: Mapping[str, Matches]
    least: float

    @classmethod
    def of(cls, case: AuditCase, shapes: MaskShapes) -> _Views:
        search = case.search("masks")
        of_made, of_held = shapes.assessable(case.synthetic), shapes.assessable(case.patients.holdout)
        names = [
            name
            for name in shapes.names
            if of_made[name].sum() >= MINIMUM_SYNTHETIC and of_held[name].sum() >= MINIMUM_STRANGERS
        ]
        seen = {name: _only(search.synthetic[name], of_made[name]) for name in names}
        held = {name: _only(search.holdout[name], of_held[name]) for name in names}
        return cls(
            shapes,
            {name: CopyTest.towards_train(seen[name], held[name]) for name in names},
            {name: CopyTest.towards_holdout(seen[name], held[name]) for name in names},
            seen,
            ALPHA / (2.0 * max(1, len(names)) * len(case.synthetic)),
        )

    def provable(self, images: ImageSet, name: str) -> BoolArray:
        """(N,) whether a mask is so large that it proves a copy alone: strangers hardly ever share its shape."""
        enough = self.shapes.assessable(images)[name] & (self.shapes.chance(images)[name] <= self.least)
        return np.asarray(enough)

    def tested(self, images: ImageSet) -> BoolArray:
        """(N,) whether a mask can prove a copy alone wherever it was moved to, or at least where it lies."""
        anywhere = [name for name in self.seen if name != "place"] or list(self.seen)
        return np.asarray(np.any([self.provable(images, name) for name in anywhere], axis=0))

    def p(self, images: ImageSet, matches: Mapping[str, Matches], sign: int = 1) -> Array:
        """p-value of each image, the smallest of its names after Bonferroni; 1 where nothing could be said."""
        smallest = np.ones(len(images))
        for name, test in (self.towards_train if sign > 0 else self.towards_holdout).items():
            where = self.provable(images, name)
            if where.any():
                each = test.p(sign * margins(_only(matches[name], where))) * len(self.seen)
                smallest[where] = np.minimum(smallest[where], each)
        return smallest

    def permutation_p(self, is_train: BoolArray, rng: np.random.Generator) -> float:
        """Exact p-value of "who was trained on has nothing to do with the masks", largest statistic over the names."""
        return permutation_p(self.seen, is_train, PERMUTATIONS, rng)


def image_p(case: AuditCase) -> Array:
    """p-value of each synthetic image, (n,), of "its masks are nobody's"; 1 where nothing can be said.

    Args:
        case: With masks and a holdout.
    """
    search = case.search("masks")
    views = _Views.of(case, cast(MaskShapes, search.comparison))
    return views.p(case.synthetic, search.synthetic)


class MaskCopies:
    """Outlines against train and holdout: one p-value per synthetic image, and a permutation of patients' labels."""

    id = "mask_copies"
    question = "Is a synthetic mask the outline of a training patient's organ or lesion, moved, mirrored or widened?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = True
    explanation = Explanation(
        how="Every synthetic mask is laid over the masks of training patients and of as many patients never seen, moved, "
        "turned, mirrored and one pixel wider. What counts is how much better it fits a training patient than "
        "a stranger; each segment, all segments together and their place in the image are looked at.",
        good="No mask fits a training patient much better than real strangers fit each other, and planted copies "
        "of masks are found.",
        weakness="Small masks equal those of strangers by chance and are not assessed; the least area that tells of "
        "a person is measured and stated. Outlines redrawn by hand, rescaled, made narrower or bent, and one lesion "
        "out of several, may be missed.",
        source="Target-decoy copy test with a conservative exponential tail; label permutation over patients; "
        "planted masks.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Flag copied masks; bound their rate over the lower bound of the worst planted recall."""
        if not case.segments or not case.train.masks.shape[1] or not case.synthetic.has_mask.any():
            reason = "not applicable: there are no masks on both sides"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        search = case.search("masks")
        shapes = cast(MaskShapes, search.comparison)
        views = _Views.of(case, shapes)
        n = _counts(case, shapes)
        real = sum(int((side.masks.max(axis=(1, 2, 3)) >= 0.5).sum()) for side in (case.train, case.patients.holdout))
        if real < 2 * MINIMUM_STRANGERS:
            reason = f"{real} real images have masks; {2 * MINIMUM_STRANGERS} are needed to know what strangers share by chance"
            return unable(NAME, Direction.LOWER, reason, n=n)
        if not views.seen:
            return _too_small(n)
        made, matches = case.synthetic, search.synthetic
        tested = views.tested(made)
        count, total = max(1, int(tested.sum())), len(made)
        p = views.p(made, matches)
        flags = Flags.of(p, views.p(made, matches, sign=-1))
        copies, decoys = flags.copies, flags.decoys
        permuted = views.permutation_p(case.patients.is_train, rng)
        found = {name: _found(case, views, name) for name in COVERED if case.measures_power}
        recall = {name: float(hits.mean()) for name, hits in found.items() if len(hits)}
        worst = min((lower_bound(int(hits.sum()), len(hits)) for hits in found.values() if len(hits)), default=0.0)
        # Masks that tell of a person, but too little to prove one alone, may all be copies as far as this test knows.
        # Those that strangers share by chance tell of nobody and are no copies of anybody.
        unproven = max(0, n["masks_assessed"] - int(tested.sum()))
        high = min(1.0, upper_bound(min(copies, count), count) / worst) if worst > 0 else 1.0
        high = min(1.0, max((high * int(tested.sum()) + unproven) / total, copies / total))
        note = (
            f"{copies} of {total} synthetic images carry a copied mask; at most {high:.2%} of the planted kinds; of "
            f"{n['masks_drawn']} images with masks {count if tested.any() else 0} have one large enough to prove a copy alone, "
            f"{n['masks_too_small']} have only such as strangers share by chance, which are not assessed"
        )
        return Measurement(
            Statistic(NAME, copies / total, lower_bound(copies, total), high, 0.95, Direction.LOWER),
            Baseline(holdout=decoys / total, random=0.0),
            Power(high if not copies else None, "share of synthetic images", recall),
            n | {"masks_proving": int(tested.sum())},
            p_value=min(1.0, 2.0 * min(flags.smallest, permuted)),
            unable=flags.unable,
            doubt=flags.doubt,
            controls_missed=tuple(name for name in COVERED if recall.get(name, 0.0) < 0.5),
            note=note,
            details={
                "copies_flagged": copies,
                "bound_covers": sorted(COVERED),
                "decoys_flagged": decoys,
                "smallest_p": float(p.min()),
                "permutation_p": permuted,
                "least_area_px_at_64": {k: v if np.isfinite(v) else None for k, v in shapes.least_area.items()},
                "assessed": {name: len(each.near) for name, each in views.seen.items()},
            },
        )


def _only(matches: Matches, rows: BoolArray) -> Matches:
    """The same matches for some of the probes."""
    return replace(
        matches,
        near=matches.near[rows],
        who=matches.who[rows],
        blocks=matches.blocks[rows],
        decoy=matches.decoy[rows],
    )


def _found(case: AuditCase, views: _Views, transform: str) -> BoolArray:
    """Whether each planted mask would be flagged; planted are masks that could prove it, since others never do."""
    sources = case.train.take(views.tested(case.train))
    if not len(sources):
        return np.zeros(0, dtype=np.bool_)
    plants = planted(transform, sources, case.synthetic, PLANTS)
    return np.asarray(views.p(plants, case.search("masks").probe(plants)) * len(case.synthetic) <= ALPHA)


def _counts(case: AuditCase, shapes: MaskShapes) -> dict[str, int]:
    """Images by role, and what became of the synthetic masks."""
    drawn = case.synthetic.masks.max(axis=(1, 2, 3)) >= 0.5
    assessed = np.any(list(shapes.assessable(case.synthetic).values()), axis=0)
    return case.counts | {
        "masks_drawn": int(drawn.sum()),
        "masks_assessed": int(assessed.sum()),
        "masks_too_small": int((drawn & ~assessed).sum()),
    }


def _too_small(n: dict[str, int]) -> Measurement:
    """Nothing can be tested: because no shape tells of a person, or because there are too few masks to know."""
    if n["masks_assessed"] == 0:
        reason = (
            "not applicable: no synthetic mask is large enough to tell of a person (real strangers share such shapes by "
            f"chance); {n['masks_too_small']} masks were not assessed"
        )
        return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=n)
    reason = (
        f"{n['masks_assessed']} synthetic masks are large enough to tell of a person; {MINIMUM_SYNTHETIC} are needed, "
        f"and {MINIMUM_STRANGERS} such masks of held-out patients"
    )
    return unable(NAME, Direction.LOWER, reason, n=n)
