"""Pasted pieces, told from strangers by descriptors of many kinds, all under one copy test; and what each costs in bias.

Worlds are perfect generators, as in `benchmarks.audit_power`: nothing leaks but what is planted. Every way of comparing
gives similarities of the same probes to the same patients; the audit's copy test turns them into p-values.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.uld import retrieval
from benchmarks.uld.pastes import PASTES, SEED, World, world
from benchmarks.uld.ways import CHECK, GLOBAL, PLAIN, Way, ways
from synthrelease.audit.copies import FusedCopyTest
from synthrelease.audit.search import CopySearch, Matches, Patients
from synthrelease.errors import UnsuitableData

NAME = "copies"
LEVEL = 0.05
GOAL = 0.9
WANTED = ("in_place", "moved", "mirrored", "gain")


def judged(given: World, way: Way) -> dict[str, Any]:
    """Recall of every paste, false alarms, and what clean images lean to."""
    began = time.process_time()
    patients = Patients.of(given.train, given.holdout)
    search = CopySearch(way(patients), patients, given.synthetic)
    test = FusedCopyTest.towards_train(search.synthetic, search.holdout)
    back = FusedCopyTest.towards_holdout(search.synthetic, search.holdout)
    p, count = test.p(search.synthetic), len(given.synthetic)
    threshold = float(np.quantile(p, 0.01, method="lower"))
    recall, family = {}, {}
    for name, paste in PASTES.items():
        rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        which = rng.permutation(len(given.train))[: given.plants]
        hosts = rng.permutation(count)[: len(which)]
        seen = test.p(search.probe(paste(given.train.take(which), given.synthetic.take(hosts), rng)))
        recall[name] = float(np.mean(seen <= threshold))
        family[name] = float(np.mean(seen * count <= LEVEL))
    return {
        "recall_at_1_percent": recall,
        "recall_at_family_5_percent": family,
        "clean_flagged": int(np.sum(p * count <= LEVEL)),
        "clean_flagged_as_holdout": int(np.sum(back.p(search.synthetic, -1) * count <= LEVEL)),
        "clean_nearer_to_train": _leaning(search.synthetic),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _leaning(matches: Mapping[str, Matches]) -> float:
    """Share of clean images more like a training patient than like any of as many strangers; ideal 1/2."""
    first = matches[next(iter(matches))]
    train, other = first.blocks[:, 0], first.decoy
    return float(np.mean((train > other) + 0.5 * (train == other)))


FULL = {64: (150, 150, 300, 50), 128: (100, 100, 160, 50)}
QUICK = (60, 60, 60, 20)


def measure(*, quick: bool, short: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Figures of every world and way."""
    figures: dict[str, Any] = {"worlds": {}, "left_out": {}}
    plan = (
        [("phantom", 64)]
        if quick
        else [(s, side) for side in (64, 128)[: 1 if short else None] for s in ("phantom", "pediatric")]
    )
    for source, side in plan:
        key = f"{source}, {side} px"
        try:
            given = world(source, side, QUICK if quick else FULL[side])
        except UnsuitableData as error:
            figures["left_out"][key] = str(error)
            continue
        rows: dict[str, Any] = {}
        for name, way in ways(given, quick=quick).items():
            try:
                rows[name] = judged(given, way)
            except UnsuitableData as error:
                figures["left_out"][f"{key}: {name}"] = str(error)
                continue
            note(f"copies: {key}: {name}: {rows[name]['cpu_seconds']} s")
        roles = (len(given.train), len(given.holdout), len(given.synthetic), given.plants)
        figures["worlds"][key] = {"roles": roles, "ways": rows}
    note("copies: sources named")
    figures["named"] = retrieval.measure(quick=quick)
    return figures


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Wanted: recall of the plain pastes at 5 % family-wise, no clean flags, better than the others."""
    found: dict[str, dict[str, Any]] = {}

    def at_least(name: str, goal: float, value: float) -> None:
        found[name] = {"goal": goal, "value": value, "met": value >= goal, "direction": "at least"}

    for key, given in figures["worlds"].items():
        rows = given["ways"]
        if CHECK not in rows:
            continue
        ours = rows[CHECK]["recall_at_family_5_percent"]
        for paste in WANTED:
            at_least(f"copies/{key}/{paste}", GOAL, ours[paste])
        flagged = rows[CHECK]["clean_flagged"]
        found[f"copies/{key}/clean_flagged"] = {
            "goal": 0, "value": flagged, "met": flagged == 0, "direction": "at most",
        }  # fmt: skip
        for other in (*GLOBAL, PLAIN):
            if other in rows:
                theirs = rows[other]["recall_at_family_5_percent"]
                lead = min(ours[paste] - theirs[paste] for paste in WANTED)
                at_least(f"copies/{key}/lead over {other}", 0.0, lead)
    return found | retrieval.goals(figures["named"])


def page(figures: Mapping[str, Any]) -> list[str]:
    """The tables."""
    lines = [
        "## Copied pieces",
        "",
        "Share of planted images flagged at a family-wise 5 % over the archive, and in brackets beyond the 1 % most "
        "copy-like clean images. Pieces are squares of 16 px (24 px where the name says so; lesions are round with a "
        "soft rim), stored in 8 bits, moved by up to 8 px, mirrored with their place, gain 0.7 to 0.9 with an offset, "
        "blur of 0.7 px, noise of 2 % of the grey range, 4 degrees, a tenth in scale. Leaning: clean images nearer to "
        "train than to as many strangers, ideal 0.5. Clean: flagged as of train, as of holdout.",
        "",
    ]
    for key, given in figures["worlds"].items():
        train, holdout, made, plants = given["roles"]
        lines += [f"### {key}: {train} + {holdout} patients, {made} synthetic, {plants} pieces of each kind", ""]
        head = ["way", *PASTES, "leaning", "clean", "CPU s"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for name, row in given["ways"].items():
            both = [(row["recall_at_family_5_percent"][p], row["recall_at_1_percent"][p]) for p in PASTES]
            cells = [f"{family:.2f} ({one:.2f})" for family, one in both]
            cells += [f"{row['clean_nearer_to_train']:.2f}"]
            cells += [f"{row['clean_flagged']}, {row['clean_flagged_as_holdout']}", f"{row['cpu_seconds']:.0f}"]
            lines.append("| " + " | ".join([name, *cells]) + " |")
        lines.append("")
    lines += [f"- left out: {what}: {why}" for what, why in figures["left_out"].items()]
    return [*lines, *retrieval.page(figures["named"])]
