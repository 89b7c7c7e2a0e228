"""An archive that any tool made, judged against folders of real images: no run, no model, no policy needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthrelease.audit.case import AuditCase, case_from_folders
from synthrelease.audit.comparability import remarks_on, require_comparable_grey
from synthrelease.audit.profile import Profile, load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.store import CohortStore
from synthrelease.cohort.survey import settings_for
from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.policy.loader import load_policy
from synthrelease.policy.schema import CohortSettings
from synthrelease.policy.shipped import shipped_file
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.runs import Run
from synthrelease.workflow.desk import Desk
from synthrelease.workflow.given import (
    Contents,
    contents_of,
    refuse_same_contents,
    refuse_same_place,
    refuse_swapped,
    require_unchanged,
)
from synthrelease.workflow.judging import Matter
from synthrelease.workflow.prior import Asked

AUDIT_RESOLUTION = 64
REQUEST = "request.private.json"
CHAIN = "audits.jsonl"


def matter_of_folders(
    desk: Desk,
    real: Path,
    holdout: Path | None,
    synthetic: Path,
    policy_name: str | None,
    profile_name: str | None,
    seed: int = 0,
) -> Matter:
    """What is needed to judge a synthetic folder against real ones; writes a folder of its own below the runs.

    The folders are only read, and hashed before and after. Without a holdout the checks that need one are inconclusive:
    distances alone never clear a release. An audit of the same files that was killed goes on in its folder.

    Raises:
        UsageError: A folder is not there; two are one, or hold the same files; real and synthetic are swapped; grey
            values cannot be compared.
        UnsuitableData: A side has no usable image.
        IntegrityError: A folder was changed meanwhile.
    """
    folders = {
        role: folder
        for role, folder in (("real", real), ("holdout", holdout), ("synthetic", synthetic))
        if folder is not None
    }
    for role, folder in folders.items():
        if not folder.exists():
            raise UsageError(f"the {role} folder is not there", fix=f"Check --{role}.")
    refuse_same_place(folders)
    profile_file = shipped_file("audits", profile_name or "standard")
    profile = load_profile(str(profile_file), check_ids())
    policy_file = shipped_file("policies", policy_name) if policy_name is not None else None
    readers = desk.threads or os.cpu_count() or 1
    held = {role: contents_of(role, folder, desk.progress, readers) for role, folder in folders.items()}
    refuse_same_contents(held)
    refuse_swapped(folders)
    desk.progress.stage("looking at the folders")
    settings = (
        load_policy(policy_file).cohort
        if policy_file is not None
        else settings_for(list(folders.values()), AUDIT_RESOLUTION)
    )
    profile_digest = digest_of_file(profile_file)
    inputs = {
        "files": {role: asdict(contents) for role, contents in held.items()},
        "reading": settings.model_dump(mode="json"),
        "profile": profile_digest,
        "seed": seed,
    }
    run = _folder_for(desk, inputs)
    sets = {role: _read(desk, run, role, folder, settings) for role, folder in folders.items()}
    case = case_from_folders(
        sets["real"], sets.get("holdout"), sets["synthetic"], real_folder=real, synthetic_folder=synthetic
    )
    require_comparable_grey(case)
    digests = {f"{role}_store": store.manifest.digest for role, store in sets.items()}
    digests |= {f"{role}_files": contents.digest for role, contents in held.items()}
    digests["audit_profile"] = profile_digest
    matter = _matter(desk, run, case, profile, seed, digests, held, inputs)
    return replace(
        matter,
        remarks=(*remarks_on(case), *_on_patients(folders)),
        unchanged=lambda: require_unchanged(folders, held, desk.progress, readers),
    )


def _matter(
    desk: Desk,
    run: Run,
    case: AuditCase,
    profile: Profile,
    seed: int,
    digests: Mapping[str, str],
    held: Mapping[str, Contents],
    inputs: Mapping[str, Any],
) -> Matter:
    asked = Asked.of(
        {role: contents.pixels for role, contents in held.items() if role == "real"},
        held["synthetic"].pixels,
        inputs,
    )
    paths = [str(folder.resolve()) for folder in (case.real_folder, run.folder) if folder is not None]
    return Matter(run, case, profile, seed, digests, desk.home / CHAIN, asked, inputs, (), paths)


def _folder_for(desk: Desk, inputs: Mapping[str, Any]) -> Run:
    """The folder of an audit of exactly these files that was not finished, or a new one."""
    key = digest_of(inputs)
    for request in sorted(desk.home.glob(f"audit-*/{REQUEST}"), reverse=True):
        run = Run(request.parent)
        try:
            fits = not run.audit.exists() and read_json(request)["key"] == key
        except (IntegrityError, KeyError, TypeError):
            continue
        if fits:
            desk.progress.note(f"going on with the interrupted audit {run.name}")
            return run
    run = Run(desk.home / f"audit-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    atomic_write_json(run.folder / REQUEST, {"key": key})
    return run


def _read(desk: Desk, run: Run, role: str, folder: Path, settings: CohortSettings) -> CohortStore:
    """The store of one side: what an interrupted audit read, if it is whole, or read now."""
    target = run.synthetic_store if role == "synthetic" else run.folder / f"{role}.private"
    if target.exists():
        try:
            store = CohortStore.open(target)
            store.verify()
            return store
        except IntegrityError:
            shutil.rmtree(target)
    desk.progress.stage(f"reading the {role} folder")
    try:
        store = ingest(settings, folder, target, split=None, progress=desk.progress.step)
    except UnsuitableData as error:
        raise UnsuitableData(f"the {role} folder cannot be judged: {error.message}", fix=error.fix) from error
    for reason, count in store.manifest.refused.items():
        desk.progress.note(f"{role}: left out {count}: {reason}")
    return store


def _on_patients(folders: Mapping[str, Path]) -> tuple[str, ...]:
    """A remark where nobody says whose image is whose: the patient is the unit of every number."""
    nameless = [
        role
        for role, folder in folders.items()
        if role != "synthetic" and folder.is_dir() and not any(folder.glob("*.csv")) and _pictures_only(folder)
    ]
    if not nameless:
        return ()
    return (
        f"No table says whose the images of the {' and '.join(nameless)} folder are: each counts as a patient of its "
        "own. Where one person has several, intervals are too narrow and the split may not be one of patients.",
    )


def _pictures_only(folder: Path) -> bool:
    from synthrelease.cohort.readers import reader_for
    from synthrelease.cohort.table import PictureTable

    settings = CohortSettings.model_validate(
        {"name": "audited", "source": "folder", "classes": ["unlabelled"]}, strict=False
    )
    return isinstance(reader_for(settings, folder, archive=True), PictureTable)
