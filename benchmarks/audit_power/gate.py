"""Our gate on worlds in which the truth is known: false alarms, recall, single copies, one copy in a hundred."""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, cast
from unittest import mock

import numpy as np
import numpy.typing as npt

from benchmarks.audit_power.worlds import FULL, SMALL, STYLES, Size, source
from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS, local_copies, mask_copies, near_copies
from synthrelease.audit.comparisons import COMPARISONS
from synthrelease.audit.comparisons.shapes import MaskShapes
from synthrelease.audit.images import ImageSet, IntArray
from synthrelease.audit.planted import TRANSFORMS, planted
from synthrelease.audit.profile import Profile, load_profile
from synthrelease.audit.rerun import Part, Rerun, part_of, part_searched, patched, with_leaks
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.audit.search import Matches
from synthrelease.audit.self_test import COPY_GATE, LOOKS_AT, Panel
from synthrelease.records.findings import Criterion, Verdict

Array = npt.NDArray[np.float64]
Seen = Mapping[str, Mapping[str, Matches]]
"""By kind of comparison and name."""

FALSE_POSITIVES = 0.01
POPULATION = ("neighbour_permutation",)

HEADLINE = ("exact", "gain", "hflip")
"""One copy in 1,000 of these is to fail every release."""

QUICK = ("exact", "gain", "hflip", "shift_4", "half_image", "mix_70", "mask_exact")
"""Transforms of a quick look."""


def profile() -> Profile:
    """The shipped profile ``standard``."""
    return load_profile("standard", check_ids())


def judged_checks(profile: Profile) -> list[str]:
    """Required checks of privacy: what an innocent archive can be failed by. Fidelity has a verdict of its own."""
    return [c.id for c in CHECKS if profile.checks[c.id].required and c.criterion is not Criterion.FIDELITY]


class Unplanted(AuditCase):
    """A case whose controls cost nothing: where only failing counts, what a check could have seen does not."""

    def planted(self, kind: str, transform: str) -> Mapping[str, Matches]:
        """The first synthetic images, as if they were leaks."""
        return {name: _rows(each, np.arange(2)) for name, each in self.search(kind).synthetic.items()}


def style_of(number: int) -> str:
    """Every other world is as it is, the others take the innocent styles in turn."""
    styles = list(STYLES)
    return styles[0] if number % 2 == 0 else styles[1 + (number // 2) % (len(styles) - 1)]


def alarm(name: str, number: int, size: Size = SMALL) -> dict[str, Any]:
    """Does the gate fail an innocent world?"""
    began = time.process_time()
    style = style_of(number)
    case = source(name).world(size, number, style)
    made = {f.name: getattr(case, f.name) for f in fields(AuditCase) if f.init}
    settings = profile()
    record, _ = run_audit(Unplanted(**made | {"measures_power": False}), settings, number, only=judged_checks(settings))
    failed = [f.id for f in record.findings if f.required and f.verdict is Verdict.FAIL]
    return {
        "style": style,
        "size": str(size),
        "failed": failed,
        "p": {f.id: f.p_value for f in record.findings if f.p_value is not None},
        "unable": [f.id for f in record.findings if f.statistic.value is None],
        "seconds": time.process_time() - began,
    }


def recall(
    name: str,
    number: int,
    plants: int,
    *,
    size: Size = FULL,
    singles: int = 30,
    sets: int = 10,
    only: Collection[str] = (),
) -> dict[str, Any]:
    """What planted leaks are found in one world.

    Args:
        name: Source. number: Of the world.
        plants: Leaks of each transform for the recall at 1 % false positives.
        singles: Archives with one copy; of the headline's transforms, one for every plant.
        sets: Archives with one copy in a hundred.
        only: These transforms; empty: all.

    Returns:
        By transform: plants, hits, singles and sets with how many failed, and by which checks.
    """
    began = time.process_time()
    case = source(name).world(size, number)
    clean: Seen = {kind: case.search(kind).synthetic for kind in COMPARISONS}
    p = fused_p(case, case.synthetic, clean)
    threshold = float(np.quantile(p, FALSE_POSITIVES, method="lower"))
    settings = profile()
    gate = [check for check in CHECKS if check.id in COPY_GATE]
    everything = Panel(gate, settings, number)
    split = everything.split(case)
    table = {}
    for transform in only or TRANSFORMS:
        part = part_of(transform)
        # The other checks look at what the leak leaves as it was: they say what they say of the clean world.
        looking = [c for c in gate if LOOKS_AT.get(c.id, Part.IMAGE) is part and c.id not in POPULATION]
        alone = Panel(looking, settings, number)
        leaks = planted(transform, case.train, case.synthetic, plants)
        seen: Seen = {kind: case.search(kind).probe(leaks) for kind in COMPARISONS if part_searched(kind) is part}
        rng = np.random.default_rng([number, zlib.crc32(transform.encode())])
        found: dict[str, int] = {}
        single = several = 0
        tried = min(len(leaks) if transform in HEADLINE else singles, len(leaks))
        for i in range(tried):
            case_i, places = leaking(case, leaks, seen, np.array([i]), part, rng)
            # Too few permutations to fail anything: one image cannot move a test of the population, which costs most.
            with mock.patch.object(mask_copies, "PERMUTATIONS", 99):
                verdict, by = alone.judged(case_i, split, places)
            single += verdict is Verdict.FAIL
            for check in by:
                found[check] = found.get(check, 0) + 1
        for _ in range(sets):
            which = rng.permutation(len(leaks))[: max(1, len(case.synthetic) // 100)]
            case_i, places = leaking(case, leaks, seen, which, part, rng)
            verdict, _ = alone.judged(case_i, split, places)
            if verdict is not Verdict.FAIL:
                verdict, _ = everything.judged(case_i, split, places)
            several += verdict is Verdict.FAIL
        table[transform] = {
            "plants": len(leaks),
            "hits": int(np.sum(fused_p(case, leaks, seen) <= threshold)) if seen else 0,
            "singles": tried,
            "singles_failed": single,
            "singles_by": found,
            "sets": sets,
            "sets_failed": several,
        }
    return {
        "transforms": table,
        "nominal_1_percent": float(np.mean(p <= FALSE_POSITIVES)),
        "size": str(size),
        "seconds": time.process_time() - began,
    }


def fused_p(case: AuditCase, images: ImageSet, seen: Seen) -> Array:
    """(N,) smallest p-value over the per-image copy checks whose comparisons were ``seen``, each fused as it ships.

    Bonferroni over the checks is the same factor for every image, so that it changes no recall.
    """
    each = []
    if "whole" in seen:
        each.append(near_copies.image_p(case, seen["whole"]))
    if "parts" in seen:
        each.append(local_copies.image_p(case, seen["parts"]))
    if "masks" in seen:
        views = mask_copies._Views.of(case, cast(MaskShapes, case.search("masks").comparison))
        each.append(views.p(images, seen["masks"]))
    return np.asarray(np.min(each, axis=0), dtype=np.float64)


def leaking(
    case: AuditCase, leaks: ImageSet, seen: Seen, which: IntArray, part: Part, rng: np.random.Generator
) -> tuple[AuditCase, IntArray]:
    """The world with leaks ``which`` in place of as many synthetic images, and those places; nothing searched anew."""
    places = rng.permutation(len(case.synthetic))[: len(which)]

    def looked_up(kind: str) -> Mapping[str, Matches]:
        own = case.search(kind).synthetic
        return patched(own, seen[kind], places, which) if kind in seen else own

    return Cheap.of(case, with_leaks(case.synthetic, places, leaks.take(which), part), looked_up), places


class Cheap(Rerun):
    """A planted world whose own controls cost nothing, see :class:`Unplanted`."""

    def planted(self, kind: str, transform: str) -> Mapping[str, Matches]:
        """The first synthetic images, as if they were leaks."""
        return {name: _rows(each, np.arange(2)) for name, each in self.search(kind).synthetic.items()}


def _rows(matches: Matches, rows: IntArray) -> Matches:
    changed: dict[str, Any] = {}
    for each in fields(Matches):
        values = getattr(matches, each.name)
        cut = each.name != "best_probe" and isinstance(values, np.ndarray) and len(values) == len(matches.near)
        changed[each.name] = values[rows] if cut else values
    return Matches(**changed)
