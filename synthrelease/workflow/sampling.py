"""From the checkpoint to the synthetic archive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.archive.notes import coverage_of
from synthrelease.archive.sampler import generated_samples, label_draw
from synthrelease.archive.writer import write_archive
from synthrelease.dicom.release.settings import ArchiveSettings, release_settings
from synthrelease.errors import IntegrityError
from synthrelease.generators.registry import WEIGHTS, load_generator, notes_of
from synthrelease.policy.generators import DraiGenerator
from synthrelease.policy.loader import policy_digest
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json
from synthrelease.records.runs import Run
from synthrelease.training.checkpoint import Checkpoint
from synthrelease.training.moments import COUNTS
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk, threads
from synthrelease.workflow.style_grid import MOST_STYLES, write_grid

IMAGES_A_WRITER = 2000


def sample_run(desk: Desk, run: Run) -> dict[str, Any]:
    """Sample the archive from the checkpoint alone; writes archive/ and archive.json, and the picture of
    styles where the policy asks for styles."""
    policy = policy_of(run)
    run.require(run.training, "train")
    refuse_voided(desk, run, policy)
    generator = load_generator(run.checkpoint)
    wanted = policy.archive
    settings = settings_of(run, policy)
    labels = archive_labels(policy, run)
    desk.progress.stage("sampling", wanted.images)
    with threads(desk.threads):
        samples = generated_samples(
            generator,
            labels,
            wanted.seed,
            edition=settings.edition,
            images_per_patient=wanted.images_per_patient,
            notes=settings.notes,
        )
        written = write_archive(
            run.archive, samples, settings, processes=_writers(desk, wanted.images), progress=desk.progress
        )
        if isinstance(policy.generator, DraiGenerator) and policy.generator.styles_per_finding:
            write_grid(generator, run, policy, min(MOST_STYLES, policy.generator.styles_per_finding))
    record = archive_record(run, policy, settings, labels, written.manifest, written.files, written.size_bytes)
    atomic_write_json(run.archive_record, record)
    return record


def style_grid(desk: Desk, run: Run, styles: int) -> dict[str, Any]:
    """A picture of every class in so many styles, from the checkpoint alone; see :func:`.style_grid.write_grid`."""
    policy = policy_of(run)
    run.require(run.training, "train")
    refuse_voided(desk, run, policy)
    settings_of(run, policy)
    with threads(desk.threads):
        return write_grid(load_generator(run.checkpoint), run, policy, styles)


def refuse_voided(desk: Desk, run: Run, policy: Policy) -> None:
    """Raise IntegrityError where the run's charge was voided."""
    own = [charge for charge in desk.ledger(policy).history() if charge.run == run.name]
    if own and all(charge.voided for charge in own):
        raise IntegrityError(
            "the run's charge was voided, so nothing may come out of it", fix="Start a new run; it is charged anew."
        )


def settings_of(run: Run, policy: Policy) -> ArchiveSettings:
    """The settings of the run's archive: the policy's, and the digest of the generator as edition.

    Raises:
        IntegrityError: The generator is not the one that training recorded; its digest enters every UID of a release.
    """
    edition = run.read(run.training, "train")["digests"]["generator"]
    weights = run.require(run.checkpoint / WEIGHTS, "train")
    if edition != digest_of_file(weights):
        raise IntegrityError(
            "the generator in the checkpoint is not the one that training.json names",
            fix="Restore both from a copy, or start a new run.",
        )
    return release_settings(policy, edition=edition, software_version=version("synthrelease"), notes=notes_of(policy))


def archive_record(
    run: Run,
    policy: Policy,
    settings: ArchiveSettings,
    labels: npt.NDArray[np.uint8],
    manifest: str,
    files: int,
    size_bytes: int,
) -> dict[str, Any]:
    """archive.json, which leaves the house as it is: everything in it follows from the policy, but for the manifest, for the
    coverage, which counts the archive's rows, and for class shares that follow from released counts.

    Args:
        run: The run; the digest of its training.json is named, and its archive's label table counted.
        policy: Its policy.
        settings: See :func:`settings_of`.
        labels: See :func:`archive_labels`.
        manifest: SHA-256 of the archive's manifest.
        files: Number of files that the manifest names.
        size_bytes: Of those together.
    """
    wanted = policy.archive
    counts = np.bincount(labels, minlength=len(settings.classes)).tolist()
    coverage = coverage_of(run.archive, settings)
    return {
        **({} if coverage is None else {"coverage": coverage}),
        "schema": "synthrelease.archive/2",
        "parents": {"training": digest_of_file(run.training), "policy": policy_digest(policy)},
        "release_name": policy.release.name,
        "edition": settings.edition,
        "software_version": settings.software_version,
        "image_class": settings.image_class.value,
        "bits": settings.bits,
        "value_range": settings.value_range,
        "images": settings.images,
        "patients": settings.patients,
        "images_per_patient": settings.images_per_patient,
        "segmentations": settings.images * settings.mask_files,
        "reports": settings.images * settings.reports,
        "class_counts": dict(zip(settings.classes, counts, strict=True)),
        **_shares_told(policy, run),
        "segments": list(settings.segments),
        "masks": wanted.masks.model_dump(),
        "resolution": policy.cohort.resolution,
        "spacing_mm": list(settings.spacing_mm),
        "license": settings.license,
        "seed": wanted.seed,
        "filtered": 0,
        "size_bytes": size_bytes,
        "manifest": {"sha256": manifest, "files": files, "bytes": size_bytes},
        "archive_digest": manifest,
    }


def archive_labels(policy: Policy, run: Run) -> npt.NDArray[np.uint8]:
    """The class index of every image of the archive that a policy asks for.

    Args:
        policy: The policy.
        run: Its run, of which the policy may ask for the released shares.
    """
    wanted = policy.archive
    shares = class_shares(policy, run)
    return label_draw(policy.cohort.classes, shares, wanted.images, wanted.seed, wanted.images_per_patient)


def class_shares(policy: Policy, run: Run) -> Mapping[str, float] | None:
    """The share of each class that a policy asks for; None: equal shares.

    Released shares are those of the noisy class counts that the private moments began with and that the checkpoint keeps:
    paid for already, so that this costs no privacy. A count that noise has put below 0 is none; if all are, nothing is known
    and shares are equal. The private archive is not read.

    Raises:
        IntegrityError: The checkpoint holds no counts of these classes, or others than training recorded.
    """
    wanted, classes = policy.archive.class_shares, policy.cohort.classes
    if not isinstance(wanted, str):
        return wanted
    checkpoint = Checkpoint(run.checkpoint)
    if run.read(run.training, "train")["digests"].get("sums") != checkpoint.sums_digest():
        raise IntegrityError(
            "the released sums in the checkpoint are not those that training.json names",
            fix="Restore both from a copy, or start a new run.",
        )
    counts = checkpoint.sums().get(COUNTS)
    if counts is None or counts.shape != (len(classes),):
        raise IntegrityError(
            "archive.class_shares is released, and the checkpoint holds no released counts of these classes",
            fix="Restore checkpoint/moments.safetensors from a copy, or start a new run.",
        )
    kept = np.maximum(counts, 0.0)
    return dict(zip(classes, (kept / kept.sum()).tolist(), strict=True)) if kept.any() else None


def _shares_told(policy: Policy, run: Run) -> dict[str, Any]:
    """What archive.json says of shares that stand in no policy."""
    asked = policy.archive.class_shares
    if not isinstance(asked, str):
        return {}
    shares = class_shares(policy, run)
    told = {"asked": asked, "from": COUNTS if shares else "equal shares, since no released count is above 0"}
    each = shares or dict.fromkeys(policy.cohort.classes, 1 / len(policy.cohort.classes))
    return {"class_shares": {**told, "shares": {name: round(share, 6) for name, share in each.items()}}}


def _writers(desk: Desk, images: int) -> int:
    """How many processes write: one for each core, but starting one takes as long as writing a thousand images."""
    return max(1, min(desk.threads or os.cpu_count() or 1, images // IMAGES_A_WRITER))
