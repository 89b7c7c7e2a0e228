"""A run begins: its policy is frozen, or an unfinished one is found again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.dicom.release.settings import require_possible
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.policy.loader import load_policy, policy_digest, policy_from, resolved
from synthrelease.policy.schema import Policy
from synthrelease.policy.shipped import shipped_file
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.runs import Run, new_run
from synthrelease.workflow.desk import Desk


def begin(desk: Desk, policy_name: str, cohort: str | None, *, resume: bool, stem: str | None = None) -> Run:
    """A new run of a policy, or the unfinished one to go on with.

    The run keeps the policy without the cohort's folder: that path is private and is kept apart.

    Raises:
        UsageError: ``resume``, and no unfinished run of this policy is there.
    """
    path = shipped_file("policies", policy_name)
    policy = load_policy(path, cohort)
    require_possible(policy)
    source = policy.cohort.source
    if source != "phantom" and not Path(source).exists():
        raise UsageError("the cohort folder is not there", fix="Name it with --cohort or in cohort.source.")
    place = source if source == "phantom" else str(Path(source).resolve())
    kept = resolved(policy)
    kept["cohort"]["source"] = "phantom" if source == "phantom" else "folder"
    digest = policy_digest(policy_from(kept))
    if resume:
        return _unfinished(desk.home, digest, place)
    profile = shipped_file("audits", policy.audit.profile)
    load_profile(str(profile), check_ids())
    run = new_run(desk.home, stem or path.stem, kept, datetime.now(UTC))
    run.folder.chmod(0o700)  # what a run holds of real patients is for its owner alone
    atomic_write_json(run.source, {"source": place})
    frozen = {"policy": digest, "audit_profile": policy.audit.profile, "audit_profile_digest": digest_of_file(profile)}
    atomic_write_json(run.plan, frozen)
    return run


def _unfinished(home: Path, digest: str, place: str) -> Run:
    """The newest run of that policy on that cohort which has no audit yet."""
    runs = [Run(path.parent) for path in home.glob("*/policy.resolved.json")]
    mine = [run for run in runs if run.plan.exists() and read_json(run.plan)["policy"] == digest]
    here = [run for run in mine if run.source.exists() and read_json(run.source)["source"] == place]
    unfinished = [run for run in here if not run.audit.exists()]
    if not unfinished:
        told = "on this cohort " if mine and not here else ""
        raise UsageError(
            f"there is no unfinished run of this policy {told}to resume", fix="Leave --resume out to start one."
        )
    return max(unfinished, key=lambda run: run.policy.stat().st_mtime_ns)


def policy_of(run: Run) -> Policy:
    """The policy that was frozen when the run began.

    Raises:
        IntegrityError: It was changed since.
    """
    policy = policy_from(run.read(run.policy, "train"))
    if policy_digest(policy) != run.read(run.plan, "train")["policy"]:
        raise IntegrityError("the run's policy was changed after it was frozen", fix="Start a new run.")
    return policy
