"""The whole job on real radiographs of which few have masks: train, sample as DICOM with segmentations, audit.

Private ones differ in where the budget goes: all of it to the moments that the warm-up is on, or a part to steps on real images,
after maps that are generated or drawn by rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.pediatric import HOME, write_table
from benchmarks.real import sheet, whole_job
from synthrelease.cli.console import Console
from synthrelease.cohort.store import CohortStore

POLICIES = {
    "plain": "pediatric_um_plain",
    "warmed up on private moments": "pediatric_um_eps8",
    "private steps": "pediatric_um_steps_eps8",
    "private steps, procedural maps": "pediatric_um_procedural_eps8",
}
"""By what the page calls them."""
PICTURE = HOME / "audits" / "reference" / "um_jobs.png"


def measured() -> dict[str, Any]:
    """What the audit finds of each, by its name; the contact sheet is written beside the record."""
    table = write_table(HOME / "build" / "cxr-pediatric")
    figures, stores = {}, {}
    for name, policy in POLICIES.items():
        path = HOME / "benchmarks" / "policies" / f"{policy}.yaml"
        figures[name], run = whole_job(path, table, HOME / "build" / "um" / "runs", Console())
        stores[name] = CohortStore.open(run.synthetic_store)
    sheet(stores, PICTURE)
    return figures


def goals(jobs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The plain archive's masks fit its images; none fails as a whole; private ones keep to their budget."""
    plain = jobs["plain"]["findings"]["mask_consistency"]
    found = {
        "job_plain_masks_fit_images": {"goal": "pass", "value": plain["verdict"], "met": plain["verdict"] == "pass"}
    }
    for name, told in jobs.items():
        verdict, key = told["verdict"], name.replace(",", "").replace(" ", "_")
        found[f"job_{key}_audit"] = {"goal": "pass", "value": verdict, "met": verdict == "pass"}
        if told["epsilon"] is not None:
            found[f"job_{key}_epsilon"] = {"goal": 8.0, "value": told["epsilon"], "met": told["epsilon"] <= 8.0}
    return found


def lines(jobs: Mapping[str, Any], date: str) -> list[str]:
    """Every check of every job, as a table."""
    names = list(jobs)
    out = [
        "## The whole job, radiographs of children at 32 px",
        "",
        f"{date}. One child in twenty has masks in the plain one, one in four in the private ones. By the product's own audit; "
        "pictures in um_jobs.png.",
        "",
        "| check: statistic (direction) | " + " | ".join(names) + " | real holdout |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for check, first in jobs[names[0]]["findings"].items():
        cells = [_cell(jobs[name]["findings"].get(check)) for name in names]
        direction = first["direction"].split()[0]
        out.append(
            f"| {check}: {first['statistic']} ({direction}) | {' | '.join(cells)} | {_number(first['holdout'])} |"
        )
    out.append(f"| audit's verdict | {' | '.join(jobs[name]['verdict'] for name in names)} | - |")
    out.append(f"| epsilon | {' | '.join(_number(jobs[name]['epsilon']) for name in names)} | - |")
    return [*out, ""]


def _cell(finding: Mapping[str, Any] | None) -> str:
    if finding is None:
        return "-"
    ends = "" if finding["low"] is None else f" ({_number(finding['low'])} to {_number(finding['high'])})"
    return f"{_number(finding['value'])}{ends} {finding['verdict']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
