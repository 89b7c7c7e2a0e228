"""The recorded run: audit_power.json, the page for people, and the picture of what was planted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from benchmarks.audit_power import beside, figures
from benchmarks.audit_power.tasks import SOURCES
from benchmarks.audit_power.worlds import FULL, SEED
from benchmarks.dp_step.reference import HOME, processor
from synthrelease.records.files import atomic_write_json, atomic_write_text

LEAKY_SETS = tuple(beside.LEAKS)


def result(results: figures.Results, *, command: str, undone: int) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    found = figures.figures(results)
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "numpy", "scipy", "torch")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seed": SEED,
        "pieces": {"done": len(results), "not_done": undone},
        "family_wise_false_alarm_rate": found["family_wise_false_alarm_rate"],
        "recall_at_1_percent": found["recall_at_1_percent"],
        "figures": found,
        "goals": figures.goals(found),
    }


def write(record: Mapping[str, Any], sheet: bytes | None) -> None:
    """Write audit_power.json, .md and .png."""
    HOME.mkdir(parents=True, exist_ok=True)
    atomic_write_json(HOME / "audit_power.json", dict(record))
    atomic_write_text(HOME / "audit_power.md", page(record))
    if sheet is not None:
        from synthrelease.records.files import atomic_write_bytes

        atomic_write_bytes(HOME / "audit_power.png", sheet)


def page(record: Mapping[str, Any]) -> str:
    """The tables for people."""
    found, goals = record["figures"], record["goals"]
    undone = record["pieces"]["not_done"]
    lines = [
        "# What the audit finds, and whom it accuses wrongly",
        "",
        f"Written by `{record['command']}` on {record['hardware']}, seed {record['seed']}; figures stand in audit_power.json.",
        *([f"{undone} pieces of the work were not done in the time given; the counts say so."] if undone else []),
        "",
        "A world is a perfect generator: its synthetic images are of people nobody trained on, so that nothing leaks but "
        "what is planted. Simulated patients (phantom) are new in every world; the children of the radiographs "
        "(pediatric, one image each) are drawn anew for each world from one pool of about 4,000, so that those worlds "
        "overlap and their rates are less certain than the intervals say. The checks are those that the profile "
        "`standard` requires for privacy, fused as it fuses them.",
        "",
        "## Innocent archives",
        "",
        *table(alarm_rows(found)),
        "",
        *[f"{line}\n" for line in again_lines(found)],
        "Half of the worlds are as they are, the others blurred, noisy, washed out and so on. Worlds of "
        "this size are too small for the membership row of the profile `standard`, which stays undecided there.",
        "",
        *table(style_rows(found)),
        "",
        "## Planted leaks",
        "",
        f"{FULL}. Recall: share of planted images beyond the 1 % most copy-like innocent images of the same world, over "
        "the smallest p-value of all comparisons. One in 1,000: share of archives that fail when one image is "
        "a leak. 1 %: share that fail when ten are. Nothing was tuned on the transforms in *italics*. Pictures: "
        "audit_power.png.",
        "",
        *table(recall_rows(found)),
        "",
        "## Other tools on the same worlds",
        "",
        "Share of sets on which the statistic alarms: at the threshold that an oracle would set (beyond all but 1 % of the "
        "clean sets, or beyond all where there are fewer than 100), and in brackets by the rule that its authors give, "
        "where they give one. Clean: by that rule. Tools for tables are given 64 pooled pixels, our "
        "reimplementations 32 x 32; mostlyai-qa looks at as many synthetic records as there are training ones, here "
        "300 of the 1,000. Phantom worlds of this table mix the patients of the small worlds. A dash: not measured.",
        "",
    ]
    for source in SOURCES:
        lines += [f"### {source}", "", *table(other_rows(found, source)), ""]
        lines += [f"- {line}" for line in not_run(found, source)]
        lines += [""] if not_run(found, source) else []
    lines += ["Rules: " + "; ".join(rules(found)) + ".", "", "## Goals", "", *table(goal_rows(goals))]
    return "\n".join(lines) + "\n"


def alarm_rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """False alarms of the gate by source."""
    rows: list[Sequence[str]] = [("worlds", "size", "number", "accused", "rate", "95 % interval", "by")]
    for source in SOURCES:
        a = found["by_source"][source]["false_alarms"]
        by = ", ".join(f"{check} {count}" for check, count in a["by_check"].items() if count) or "none"
        interval = f"{a['low']:.3f} to {a['high']:.3f}" if a["worlds"] else "-"
        rows.append((source, str(a["size"]), str(a["worlds"]), str(a["hits"]), shown(a["rate"]), interval, by))
    return rows


def again_lines(found: Mapping[str, Any]) -> list[str]:
    """How many worlds were not judged in full, a sentence a source."""
    lines = []
    for source in SOURCES:
        a = found["by_source"][source]["false_alarms"]
        rest = a["worlds"] - a.get("judged_in_full", a["worlds"])
        if rest:
            lines.append(
                f"Of the {a['worlds']} {source} worlds {a['judged_in_full']} were judged in full. Of the other {rest} only "
                f"{' and '.join(a['anew'])} was measured anew; the p-values of the other checks are those of a run before "
                "that check was changed, and in the worlds that both runs judged in full they are equal to the last bit."
            )
    return lines


def style_rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """Accused worlds by style."""
    styles = {s: None for source in SOURCES for s in found["by_source"][source]["false_alarms"]["by_style"]}
    rows: list[Sequence[str]] = [("style", *SOURCES)]
    for style in styles:
        cells = [found["by_source"][source]["false_alarms"]["by_style"].get(style) for source in SOURCES]
        rows.append((style, *(f"{c['hits']} of {c['trials']}" if c else "-" for c in cells)))
    return rows


def recall_rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """Recall, single copies and 1 % by transform."""
    head = ["leak", *(f"recall, {s} (n, bound)" for s in SOURCES), *(f"one in 1,000, {s}" for s in SOURCES)]
    rows: list[Sequence[str]] = [(*head, *(f"1 %, {s}" for s in SOURCES))]
    parts = {s: found["by_source"][s]["recall"] for s in SOURCES}
    for transform in dict.fromkeys(name for part in parts.values() for name in part):
        cells = [f"*{transform}*" if transform in figures.UNSEEN else transform]
        for s in SOURCES:
            row = parts[s].get(transform)
            seen = row is not None and transform not in figures.ROWS_ONLY
            cells.append(f"{row['recall']:.3f} ({row['plants']}, {row['recall_lower_95']:.3f})" if seen else "-")
        for key in ("one_image", "one_percent"):
            cells += [shown(parts[s][transform][key]["rate"]) if transform in parts[s] else "-" for s in SOURCES]
        rows.append(cells)
    return rows


def other_rows(found: Mapping[str, Any], source: str) -> list[Sequence[str]]:
    """Other tools by statistic, with our gate as the last row."""
    rows: list[Sequence[str]] = [("tool", "statistic", "sets", "clean", "blurred", "noisy", *LEAKY_SETS)]
    for title, tool in found["others"][source].items():
        for name, power in tool.get("statistics", {}).items():
            if not power["clean_sets"]:
                continue
            cells = [shown(power["by_rule"].get("clean"))]
            for each in ("blurred", "noisy", *LEAKY_SETS):
                by_rule = power["by_rule"].get(each)
                cells.append(shown(power["oracle"].get(each)) + (f" ({shown(by_rule)})" if by_rule is not None else ""))
            rows.append((title, name, str(power["clean_sets"]), *cells))
    ours = found["by_source"][source]
    alarms, recall = ours["false_alarms"], ours["recall"]
    styles = alarms["by_style"]
    cells = [shown(styles[s]["rate"]) if s in styles else "-" for s in ("as_it_is", "blurred", "noisy")]
    for transform, share in beside.LEAKS.values():
        key = {0.001: "one_image", 0.01: "one_percent"}.get(share)
        row = recall.get(transform)
        cells.append(shown(row[key]["rate"]) if row and key else "-")
    rows.append(("**this audit**", "fused gate, its own rule", "", *cells))
    return rows


def not_run(found: Mapping[str, Any], source: str) -> list[str]:
    """Tools that were not asked, and why."""
    return [
        f"{title}: not run, {tool['not_run']}" for title, tool in found["others"][source].items() if "not_run" in tool
    ]


def rules(found: Mapping[str, Any]) -> list[str]:
    """The published rules."""
    return list(
        dict.fromkeys(
            f"{title}, {name}: {power['rule']}"
            for source in SOURCES
            for title, tool in found["others"][source].items()
            for name, power in tool.get("statistics", {}).items()
            if power.get("rule")
        )
    )


def goal_rows(goals: Mapping[str, Any]) -> list[Sequence[str]]:
    """The goals."""
    return [
        ("goal", "wanted", "reached", "met"),
        *(
            (name, f"{g['direction']} {g['goal']:g}", shown(g["value"]), "yes" if g["met"] else "**no**")
            for name, g in goals.items()
        ),
    ]


def shown(value: float | None) -> str:
    """A rate, or a dash."""
    return "-" if value is None else f"{value:.3g}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]
