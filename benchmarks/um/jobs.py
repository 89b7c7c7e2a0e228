"""The whole job on real radiographs of which few have masks: train, sample as DICOM with segmentations, audit.

Private ones differ in where the budget goes: all of it to the moments that the warm-up is on, or a part to steps on real images,
after maps that are generated or drawn by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.codes import digest_of, matching
from benchmarks.pediatric import HOME, write_table
from benchmarks.real import sheet, shown, whole_job
from synthrelease.cli.console import Console
from synthrelease.cohort.store import CohortStore
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.runs import Run

POLICIES = {
    "plain": "pediatric_um_plain",
    "warmed up on private moments": "pediatric_um_eps8",
    "private steps": "pediatric_um_steps_eps8",
    "private steps, procedural maps": "pediatric_um_procedural_eps8",
}
"""By what the page calls them."""
KEPT = HOME / "build" / "um" / "jobs"
CODE = ("benchmarks/pediatric.py", "benchmarks/real.py", "synthrelease/**/*")
"""What a job follows from, data and policy aside."""
VERDICTS = {"privacy_and_conformance": "verdict", "fidelity": "fidelity"}
"""The audit's two verdicts as the record names them, and where a job's figures have them."""


def measured(note: Callable[[str], None]) -> tuple[dict[str, Any], bytes]:
    """What the audit finds of each, by its name, and a contact sheet as PNG; a run that is kept is not done again.

    Raises:
        UnsuitableData: The radiographs are not on this machine.
    """
    table, figures, stores = write_table(HOME / "build" / "cxr-pediatric"), {}, {}
    for name, policy in POLICIES.items():
        path = HOME / "benchmarks" / "policies" / f"{policy}.yaml"
        kept = KEPT / f"{policy}-{code_digest(policy)}.json"
        if not kept.is_file():
            note(f"whole job: {name}")
            told, run = whole_job(path, table, KEPT, Console())
            atomic_write_json(kept, {**told, "run": run.folder.name})
        told = read_json(kept)
        stores[name] = CohortStore.open(Run(KEPT / told.pop("run")).synthetic_store)
        figures[name] = told
    return figures, sheet(stores)


def code_digest(*policies: str) -> str:
    """Of everything that jobs follow from, the data aside; of all of them where no policy is named."""
    files = [HOME / "benchmarks" / "policies" / f"{policy}.yaml" for policy in policies or POLICIES.values()]
    return digest_of(HOME, [*matching(HOME, CODE), *files])


def goals(jobs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The plain archive's masks fit its images; audits pass in privacy and in fidelity, neither for the other; budgets are kept."""
    plain = jobs["plain"]["findings"]["mask_consistency"]
    found = {
        "job_plain_masks_fit_images": {"goal": "pass", "value": plain["verdict"], "met": plain["verdict"] == "pass"}
    }
    for name, told in jobs.items():
        key = name.replace(",", "").replace(" ", "_")
        for part, kept in VERDICTS.items():
            found[f"job_{key}_{part}"] = {"goal": "pass", "value": told[kept], "met": told[kept] == "pass"}
        if told["epsilon"] is not None:
            found[f"job_{key}_epsilon"] = {"goal": 8.0, "value": told["epsilon"], "met": told["epsilon"] <= 8.0}
    return found


def lines(jobs: Mapping[str, Any], measured_on: str) -> list[str]:
    """Every check of every job, as a table."""
    names = list(jobs)
    out = [
        "## The whole job, radiographs of children at 32 px",
        "",
        f"Measured on {measured_on}. One child in twenty has masks in the plain one, one in four in the private ones. By the "
        "product's own audit; required checks in bold, which alone make the verdicts; pictures in um_jobs.png.",
        "",
        "| check: statistic (direction) | " + " | ".join(names) + " | real holdout |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for check, first in jobs[names[0]]["findings"].items():
        cells = [_cell(jobs[name]["findings"].get(check)) for name in names]
        direction = first["direction"].split()[0]
        named = f"**{check}**" if first["required"] else check
        out.append(f"| {named}: {first['statistic']} ({direction}) | {' | '.join(cells)} | {shown(first['holdout'])} |")
    for part, kept in VERDICTS.items():
        out.append(f"| **verdict: {part.replace('_', ' ')}** | {' | '.join(jobs[name][kept] for name in names)} | - |")
    out.append(f"| epsilon | {' | '.join(shown(jobs[name]['epsilon']) for name in names)} | - |")
    return [*out, ""]


def _cell(finding: Mapping[str, Any] | None) -> str:
    if finding is None:
        return "-"
    ends = "" if finding["low"] is None else f" ({shown(finding['low'])} to {shown(finding['high'])})"
    return f"{shown(finding['value'])}{ends} {finding['verdict']}"
