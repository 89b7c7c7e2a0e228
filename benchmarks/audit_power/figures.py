"""From the results of single worlds to rates with their intervals, and to the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.audit_power import beside, scores
from benchmarks.audit_power.peers import PEERS
from benchmarks.audit_power.tasks import SOURCES
from benchmarks.audit_power.worlds import STYLES
from synthrelease.audit.intervals import clopper_pearson, lower_bound, upper_bound
from synthrelease.audit.planted import TRANSFORMS

Results = Mapping[str, Mapping[str, Any]]

RECALL: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(
        (
            *("exact", "requantise_5_bit", "noise_2_percent", "noise_5_percent", "gain", "gamma", "inversion", "blur"),
            *("hflip", "rot90", "shift_1", "shift_2", "shift_4", "shift_8"),
        ),
        0.985,
    )
    | dict.fromkeys(("zoom", "rotate_5", "elastic", "composite", "half_image", "mix_70"), 0.95)
    | dict.fromkeys(("mask_exact", "mask_flip", "mask_shift"), 0.95)
    | {"patch_in_place": 0.80, "mix_50": 0.80, "patch_moved": 0.50}
)
"""Recall at 1 % false positives that is wanted."""

SINGLE: Mapping[str, float] = MappingProxyType(
    {"exact": 0.99, "gain": 0.99, "hflip": 0.99}
    | dict.fromkeys(("requantise_5_bit", "noise_2_percent", "blur", "gamma"), 0.985)
    | dict.fromkeys(("inversion", "rot90", "shift_1", "shift_2", "shift_4", "shift_8"), 0.95)
    | dict.fromkeys(("zoom", "composite", "half_image", "mask_exact", "mask_flip", "mask_shift"), 0.90)
    | {"noise_5_percent": 0.85, "mix_70": 0.85, "rotate_5": 0.80}
)
"""Share of archives that fail by one copy in 1,000."""

ONE_PERCENT: Mapping[str, float] = MappingProxyType(
    {"exact": 0.95, "gain": 0.95, "hflip": 0.95, "shift_4": 0.95, "noise_5_percent": 0.85}
)
"""Share of archives with 1 % copies that fail."""

QUIET_STYLES = ("blurred", "noisy", "washed_out", "collapsed", "grey_changed")
ROWS_ONLY = ("label_row",)
"""Leaks in what is not an image: no score of an image can see them."""

UNSEEN = ("perspective", "sharpen", "vignette", "salt_and_pepper", "patch_mirrored", "patch_gain", "average_of_2")
"""Leaks on which nothing was tuned."""


def of_kind(results: Results, kind: str, source: str) -> list[Mapping[str, Any]]:
    """Results of one kind from one source, by number of the world."""
    found = []
    for name, result in results.items():
        task = name.split("/")
        if task[0] == kind and task[1] == source:
            found.append((int(task[2]), result))
    return [result for _, result in sorted(found, key=lambda each: each[0])]


def figures(results: Results) -> dict[str, Any]:
    """Everything that was measured."""
    recall = {source: recalled(of_kind(results, "recall", source)) for source in SOURCES}
    alarms = {source: alarmed(of_kind(results, "alarm", source)) for source in SOURCES}
    worst = {
        transform: min(found[transform]["recall"] for found in recall.values() if transform in found)
        for transform in TRANSFORMS
        if transform not in ROWS_ONLY and any(transform in found for found in recall.values())
    }
    independent = alarms["phantom"]
    return {
        "family_wise_false_alarm_rate": independent["rate"] if independent["worlds"] else None,
        "recall_at_1_percent": worst,
        "by_source": {source: {"false_alarms": alarms[source], "recall": recall[source]} for source in SOURCES},
        "nominal_1_percent": {
            source: _mean([r["nominal_1_percent"] for r in of_kind(results, "recall", source)]) for source in SOURCES
        },
        "others": {source: others(results, source) for source in SOURCES},
    }


def alarmed(worlds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """False alarms over innocent worlds, by style and by check, and whether the population test's p is uniform."""
    failed = [bool(world["failed"]) for world in worlds]
    found = rate(sum(failed), len(failed)) | {"worlds": len(worlds)}
    found["size"] = worlds[0]["size"] if worlds else None
    found["judged_in_full"] = sum("anew" not in world for world in worlds)
    found["anew"] = sorted({world["anew"] for world in worlds if "anew" in world})
    found["by_style"] = {
        style: rate(sum(map(bool, each)), len(each))
        for style in STYLES
        if (each := [world["failed"] for world in worlds if world["style"] == style])
    }
    checks = sorted({check for world in worlds for check in (*world["p"], *world["failed"])})
    found["by_check"] = {check: sum(check in world["failed"] for world in worlds) for check in checks}
    p = [world["p"]["neighbour_permutation"] for world in worlds if "neighbour_permutation" in world["p"]]
    found["permutation_p_uniform"] = float(stats.kstest(p, "uniform").pvalue) if len(p) >= 30 else None
    return found


def recalled(worlds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By transform: recall of single images, of archives with one copy, of archives with 1 % copies."""
    table: dict[str, dict[str, Any]] = {}
    for transform in TRANSFORMS:
        rows = [world["transforms"][transform] for world in worlds if transform in world["transforms"]]
        if not rows:
            continue
        hits, plants = sum(r["hits"] for r in rows), sum(r["plants"] for r in rows)
        by: dict[str, int] = {}
        for row in rows:
            for check, count in row["singles_by"].items():
                by[check] = by.get(check, 0) + count
        table[transform] = {
            "recall": hits / plants,
            "recall_lower_95": lower_bound(hits, plants),
            "plants": plants,
            "one_image": rate(sum(r["singles_failed"] for r in rows), sum(r["singles"] for r in rows)),
            "one_image_by_check": by,
            "one_percent": rate(sum(r["sets_failed"] for r in rows), sum(r["sets"] for r in rows)),
        }
    return table


def rate(hits: int, trials: int) -> dict[str, Any]:
    """A rate with its exact 95 % interval and one-sided upper bound."""
    if not trials:
        return {"hits": 0, "trials": 0, "rate": None, "low": None, "high": None, "upper_95": None}
    low, high = clopper_pearson(hits, trials)
    return {
        "hits": hits,
        "trials": trials,
        "rate": hits / trials,
        "low": low,
        "high": high,
        "upper_95": upper_bound(hits, trials),
    }


def others(results: Results, source: str) -> dict[str, Any]:
    """By tool and statistic: alarms of each set by the published rule and by an oracle threshold."""
    table: dict[str, Any] = {}
    scored = [r["sets"] for r in of_kind(results, "scored", source)]
    if scored:
        table["reimplemented here"] = {
            "worlds": len(scored),
            "statistics": {
                name: _power(scored, name, scores.LARGER_IS_WORSE[name], scores.RULE.get(name))
                for name in scores.LARGER_IS_WORSE
            },
        }
    for key, peer in PEERS.items():
        answers = of_kind(results, key, source)
        worlds = [r["sets"] for r in answers if "sets" in r]
        if not worlds:
            reason = answers[0]["not_run"] if answers else "there was no time for it"
            table[peer.title] = {"worlds": 0, "not_run": reason}
            continue
        table[peer.title] = {
            "worlds": len(worlds),
            "statistics": {
                name: _power(worlds, name, larger, peer.rule.get(name)) for name, larger in peer.larger_is_worse.items()
            },
        }
    return table


def _power(
    worlds: Sequence[Mapping[str, Mapping[str, float]]], name: str, larger: bool, rule: tuple[str, float] | None
) -> dict[str, Any]:
    sign = 1.0 if larger else -1.0
    clean = np.sort([sign * w["clean"][name] for w in worlds if name in w.get("clean", {})])
    if not len(clean):
        return {"clean_sets": 0}
    # The oracle sees the clean sets: one in a hundred of them may lie beyond, none where there are fewer.
    beyond = float(clean[-1 - len(clean) // 100])
    found: dict[str, Any] = {
        "clean_sets": len(clean),
        "clean_mean": float(sign * clean.mean()),
        "clean_sd": float(clean.std()),
        "oracle": {},
        "rule": rule[0] if rule else None,
        "by_rule": {},
    }
    for each in beside.SETS:
        values = [sign * w[each][name] for w in worlds if name in w.get(each, {})]
        if not values:
            continue
        if each != "clean":
            found["oracle"][each] = float(np.mean(np.array(values) > beyond))
        if rule:
            found["by_rule"][each] = float(np.mean(np.array(values) > sign * rule[1]))
    return found


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def goals(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was wanted and what was reached; the worse of both sources counts, and what was not measured is not met."""
    table: dict[str, Any] = {}

    def want(name: str, goal: float, value: float | None, *, most: bool = False, enough: bool = True) -> None:
        met = value is not None and enough and (value <= goal if most else value >= goal)
        direction = "at most" if most else "at least"
        table[name] = {"goal": goal, "direction": direction, "value": value, "met": bool(met)}

    parts = found["by_source"]
    for source in SOURCES:
        alarms = parts[source]["false_alarms"]
        many = alarms["worlds"] >= 200
        want(f"false_alarms/{source}", 0.05, alarms["rate"], most=True, enough=many)
        want(f"false_alarms_upper_95/{source}", 0.08, alarms["upper_95"], most=True, enough=many)
        styles = [alarms["by_style"][s]["hits"] for s in QUIET_STYLES if s in alarms["by_style"]]
        want(f"false_alarms_of_innocent_styles/{source}", 0, sum(styles) if styles else None, most=True)
        want(f"permutation_p_uniform/{source}", 0.01, alarms["permutation_p_uniform"])

    def worst(transform: str, value: Any) -> tuple[float | None, bool]:
        rows = [parts[source]["recall"].get(transform) for source in SOURCES]
        if any(row is None for row in rows):
            return None, False
        return min(value(row) for row in rows), all(row["plants"] >= 200 for row in rows)

    for transform, goal in RECALL.items():
        value, enough = worst(transform, lambda row: row["recall"])
        want(f"recall_at_1_percent/{transform}", goal, value, enough=enough)
    for transform, goal in SINGLE.items():
        value, enough = worst(transform, lambda row: row["one_image"]["rate"])
        want(f"one_in_1000_fails/{transform}", goal, value, enough=enough)
    for transform, goal in ONE_PERCENT.items():
        value, enough = worst(transform, lambda row: row["one_percent"]["rate"])
        want(f"one_percent_found/{transform}", goal, value, enough=enough)
    return table
