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

from benchmarks.uld import bias, global_embedding, retrieval
from benchmarks.uld.pastes import PASTES, SEED, World, world
from benchmarks.uld.reference import goal
from benchmarks.uld.ways import (
    CHECK,
    FEW,
    GLOBAL,
    GLOBAL_RECIPES,
    LANDMARK,
    PLAIN,
    SHIPPED,
    STEPS,
    Way,
    leaning,
    ways,
)
from synthrelease.audit.copies import FusedCopyTest
from synthrelease.audit.search import CopySearch, Patients
from synthrelease.errors import UnsuitableData

NAME = "copies"
SOURCES, SIDES = ("phantom", "pediatric"), (64, 128)
LEVEL = 0.05
GOAL = 0.9
WANTED = ("in_place", "moved", "mirrored", "gain")
CHANCE = 0.2
"""Most that may be found of any paste by what looks at the whole image, or for anatomy: such descriptors are blind."""

MOST_LEANING = 0.15
"""That the share of clean images nearer to train may differ from one half."""


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
        "clean_nearer_to_train": leaning(search.synthetic),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


FULL = {64: (150, 150, 300, 50), 128: (100, 100, 160, 50)}
QUICK = (60, 60, 60, 20)


def measure(*, quick: bool, short: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Figures of every world and way."""
    figures: dict[str, Any] = {"worlds": {}, "left_out": {}, "steps_of_fits": FEW if quick else STEPS}
    note("copies: fitting the global embedding")
    figures["global_embedding"] = global_embedding.measure(GLOBAL_RECIPES[quick])
    plan = (
        [("phantom", 64)] if quick else [(source, side) for side in SIDES[: 1 if short else None] for source in SOURCES]
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
    if not quick and not short:
        figures["bias"] = bias.measure(SOURCES, note)
    return figures


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same goals in every record; those of a world or a way that is missing are missed."""
    found: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        for source in SOURCES:
            key = f"{source}, {side} px"
            found |= _of_world(f"copies/{key}", figures["worlds"].get(key, {"ways": {}})["ways"], side)
    return found | retrieval.goals(figures["named"])


def _of_world(name: str, rows: Mapping[str, Any], side: int) -> dict[str, dict[str, Any]]:
    """Plain pastes are found, more of each than by others; nothing clean is flagged; what must be blind is blind."""

    def recall(way: str, paste: str) -> float:
        return float(rows[way]["recall_at_family_5_percent"][paste])

    found = {f"{name}/{paste}": goal(GOAL, recall(CHECK, paste) if CHECK in rows else None) for paste in WANTED}
    flagged = rows[CHECK]["clean_flagged"] if CHECK in rows else None
    found[f"{name}/clean_flagged"] = goal(0, flagged, "at most")
    for other in (*GLOBAL, PLAIN):
        both = CHECK in rows and other in rows
        lead = min(recall(CHECK, paste) - recall(other, paste) for paste in WANTED) if both else None
        # What finds as much is not better.
        found[f"{name}/lead over {other}"] = goal(0, lead, "above")
    # The landmark encoder is compared at 64 px alone.
    for blind in (*GLOBAL, LANDMARK) if side == SIDES[0] else GLOBAL:
        most = max(recall(blind, paste) for paste in PASTES) if blind in rows else None
        found[f"{name}/blind: {blind}"] = goal(CHANCE, most, "at most")
    for fair in (SHIPPED, CHECK):
        apart = round(abs(rows[fair]["clean_nearer_to_train"] - 0.5), 9) if fair in rows else None
        found[f"{name}/leaning off one half: {fair}"] = goal(MOST_LEANING, apart, "at most")
    return found


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
    # Records of before hold neither.
    if "steps_of_fits" in figures:
        alone = figures["global_embedding"]
        lines[-1:] = [
            f"Local networks that are fitted here take {figures['steps_of_fits']} steps. The SSCD-like network looks at whole "
            f"images; what it can do: of {alone['strangers']} phantoms that it has never seen, turned, cropped, blurred and "
            f"of other greys as a whole, it names {alone['named']:.0%} ({alone['fit_cpu_seconds']:.0f} CPU seconds of fitting).",
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
    lines += retrieval.page(figures["named"])
    return lines + bias.page(figures["bias"]) if "bias" in figures else lines
