"""From images without labels to an encoder: fitted to a private cohort for use inside the house, or to phantoms.

An encoder is fitted to *all* patients of the folder that is given, whatever split a run of the same cohort has: one
that knew one side of a split only would treat the two sides otherwise, and a check by it would compare unlike with
unlike. Nobody can see from a folder whether it is one side, so the audit refuses an encoder that knows any of its
images. Nothing of the fit is charged to a ledger, so the file may not leave the house: it says so itself, and no
release holds weights of any kind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from synthrelease.cohort.ingest import MINIMUM_PATIENTS, ingest
from synthrelease.cohort.labels import read_table
from synthrelease.cohort.store import CohortStore
from synthrelease.cohort.survey import settings_for
from synthrelease.errors import IntegrityError, Interrupted, SynthreleaseError, UnsuitableData, UsageError
from synthrelease.features.uld.encoder import Encoder, Provenance, Role
from synthrelease.features.uld.fitting import Recipe, fit
from synthrelease.features.uld.local import LEAST_SIDE, LocalRecipe, fit_local
from synthrelease.features.uld.public import make_public
from synthrelease.features.uld.sketch import sketch_of
from synthrelease.features.uld.sources import StoreSource
from synthrelease.policy.loader import load_policy
from synthrelease.policy.schema import CohortSettings
from synthrelease.policy.shipped import shipped_file
from synthrelease.records.files import atomic_write_json, read_json, sweep_partials
from synthrelease.training.exclusive import alone_with
from synthrelease.workflow.desk import Desk, threads

SIDE = 64
REQUEST, STORE, STATE = "request.private.json", "cohort.private", "state.safetensors"
SOURCE = "private images: all patients of the folder that was given"
_MARKS = ("release.json", "bagit.txt", "manifest-sha256.txt")


@dataclass(frozen=True)
class Wanted:
    """What is to be fitted.

    Attributes:
        role: ``landmarks`` or ``copies``.
        out: The encoder's file; must not exist.
        cohort: Folder or table of private images; None: phantoms, by the fixed recipe of the public encoder.
        policy: Name or file of a policy that says how to read the cohort; None: looked at as an audit of folders does.
        mode: Of the fit for landmarks. side: Pixels on a side; None: 64. steps: Of all stages together; None: the recipe's.
    """

    role: Role
    out: Path
    cohort: Path | None = None
    policy: str | None = None
    mode: Literal["within", "paper"] = "within"
    side: int | None = None
    steps: int | None = None

    @property
    def folder(self) -> Path:
        """Where pixels and state lie while it is fitted; private, and removed when the encoder is written."""
        return self.out.with_name(f"{self.out.name}.fit.private")

    @property
    def recipe(self) -> Recipe | LocalRecipe:
        """Of a cohort's encoder.

        Raises:
            UsageError: The settings do not go together.
        """
        side, steps = self.side or SIDE, self.steps
        if self.mode == "paper":
            if self.role == "copies":
                raise UsageError("--mode paper is a way to fit landmarks", fix="Leave --mode out with --role copies.")
            if steps is None:
                return Recipe.paper(side=side)
            first = -(-steps // 5)  # without regions, a fifth of all as published
            return Recipe.paper(first, steps - first, side=side)
        if self.role == "copies" and side < LEAST_SIDE:
            raise UsageError(f"at {side} pixels there is no room for windows to copy", fix="Take --side 64 or 128.")
        recipe = Recipe(side=side) if self.role == "landmarks" else LocalRecipe(side=side)
        return recipe if steps is None else replace(recipe, steps=steps)

    def to_json(self, computing: int) -> dict[str, Any]:
        """What a fit that goes on must have in common with the one that was begun. Names a private folder."""
        return {
            "role": self.role,
            "cohort": None if self.cohort is None else str(self.cohort.resolve()),
            "policy": self.policy,
            "mode": self.mode,
            "side": self.side or SIDE,
            "steps": self.steps,
            "threads": computing,
        }


def fit_features(desk: Desk, wanted: Wanted, *, resume: bool) -> dict[str, Any]:
    """Fit an encoder and write it; what was done before an interruption is kept and gone on from.

    Returns:
        What the verb answers: the file, its digest, provenance and recipe, images and patients seen.

    Raises:
        UsageError: The file exists, lies where things leave the house, or settings do not go together; an interrupted
            fit lies there and ``resume`` was not asked for, or the other way round.
        UnsuitableData: The cohort holds too little that can be read, or the disk refuses.
        Interrupted: Control-C; ``resume`` goes on with the same result.
    """
    require_place(wanted, resume=resume)
    if wanted.cohort is None and (wanted.mode != "within" or (wanted.side, wanted.steps, wanted.policy) != (None,) * 3):
        raise UsageError(
            "the public encoder has one recipe, so that everybody gets the same",
            fix="Leave --mode, --side, --steps and --policy out with --phantoms.",
        )
    if wanted.cohort is not None:
        wanted.recipe  # noqa: B018  refused before anything is read
    computing = _request(desk, wanted, resume=resume)
    with alone_with(wanted.folder), _kept(wanted), threads(computing):
        encoder, seen = _public(desk, wanted) if wanted.cohort is None else _private(desk, wanted, wanted.cohort)
        desk.progress.stage("writing the encoder")
        written = resume and wanted.out.is_file() and wanted.out.read_bytes() == encoder.to_bytes()
        if not written:  # else it was killed between the last write and the end
            _require_free(wanted.out)
            encoder.save(wanted.out)
    shutil.rmtree(wanted.folder, ignore_errors=True)
    return {**described(encoder), "file": str(wanted.out), "seen": seen}


def described(encoder: Encoder) -> dict[str, Any]:
    """Role, digest and provenance of an encoder; of the digests of its images only the number."""
    provenance = encoder.provenance
    return {
        "role": encoder.role,
        "digest": encoder.digest,
        "kind": provenance.kind,
        "source": provenance.source,
        "epsilon": provenance.epsilon,
        "delta": provenance.delta,
        "known_images": len(provenance.cohort_digests),
        "recipe": provenance.recipe,
    }


def require_place(wanted: Wanted, *, resume: bool = False) -> None:
    """The encoder's file is new, or left by the fit to ``resume``, and lies where nothing leaves the house from.

    Raises:
        UsageError: It exists, is no .safetensors, or lies in a release, an archive or the private cohort itself.
    """
    out = wanted.out
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out.name} is no .safetensors file", fix="Name it FILE.safetensors.")
    if not (resume and (wanted.folder / REQUEST).is_file()):
        _require_free(out)
    if wanted.cohort is not None and not wanted.cohort.exists():
        raise UsageError("the cohort folder is not there", fix="Check --cohort.")
    if wanted.cohort is not None and any(out.resolve().is_relative_to(home) for home in _homes(wanted.cohort)):
        raise UsageError(
            "--out lies in a folder of the cohort, of its table or of its pictures, which is only read",
            fix="Name a place outside of it.",
        )
    for folder in out.resolve().parents:
        inside = "a release" if folder.name == "releases" else ""
        if folder.name == "archive" and (folder.parent / "policy.resolved.json").is_file():
            inside = "the archive of a run"
        elif any((folder / name).is_file() for name in _MARKS):
            inside = "an archive or a release"
        if inside:
            raise UsageError(
                f"--out lies in {inside}, and an encoder never leaves with one", fix="Name a place in the house."
            )


def _homes(cohort: Path) -> set[Path]:
    """Where the cohort lies: its folder or that of its table, and the folders of the pictures that its table names."""
    folder = cohort if cohort.is_dir() else cohort.parent
    named: set[Path] = set()
    for table in sorted(folder.glob("*.csv")) if cohort.is_dir() else [cohort]:
        with suppress(UsageError):  # what is no table is told of where the cohort is read, if it is needed at all
            cells = read_table(table).column("image") or ()
            named |= {(folder / cell).parent for cell in cells if cell and "\0" not in cell}
    return {Path(os.path.realpath(place)) for place in {folder, *named}}


def _require_free(out: Path) -> None:
    if os.path.lexists(out):
        raise UsageError(f"{out.name} exists already; an encoder is never overwritten", fix="Name another --out.")


def _request(desk: Desk, wanted: Wanted, *, resume: bool) -> int:
    """Note what is begun, or compare it with what was; returns the threads to compute with."""
    note = wanted.folder / REQUEST
    if not resume:
        if wanted.folder.exists():
            sweep_partials(wanted.folder)  # of one that was killed before it was noted
        if wanted.folder.exists() and any(wanted.folder.iterdir()):
            raise UsageError(
                f"an interrupted fit of {wanted.out.name} lies there",
                fix=f"Go on with --resume, or remove {wanted.folder}.",
            )
        computing = desk.threads or os.cpu_count() or 1
        _private_folder(wanted.folder)
        atomic_write_json(note, wanted.to_json(computing))
        return computing
    if not note.is_file():
        raise UsageError(f"there is no interrupted fit of {wanted.out.name}", fix="Start it without --resume.")
    begun = read_json(note)
    try:
        computing = desk.threads or int(begun["threads"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the note of the interrupted fit is damaged", fix=f"Remove {wanted.folder}.") from error
    now = wanted.to_json(computing)
    changed = sorted(name for name in now if begun.get(name) != now[name])
    if changed:
        raise UsageError(
            f"the interrupted fit was begun with another {', '.join(changed)}",
            fix="Give what it was begun with: the result would be neither of the two.",
        )
    return computing


def _private_folder(folder: Path) -> None:
    """Make a folder that is its owner's alone before anything is in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # one that was there already
    except OSError as error:
        raise UnsuitableData(
            f"cannot write {folder.name}: {error.strerror}", fix="Choose another --out, then run again."
        ) from error


@contextmanager
def _kept(wanted: Wanted) -> Iterator[None]:
    """Keep the folder of a fit that can go on; leave none of one that was refused before it began."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("the fit was interrupted; what was done is kept", fix="Go on with --resume.") from error
    except Interrupted:
        raise
    except SynthreleaseError:
        if not (wanted.folder / STATE).exists():
            shutil.rmtree(wanted.folder, ignore_errors=True)
        raise


def _public(desk: Desk, wanted: Wanted) -> tuple[Encoder, dict[str, int]]:
    return make_public(wanted.role, desk.progress, state=wanted.folder / STATE), {}


def _private(desk: Desk, wanted: Wanted, cohort: Path) -> tuple[Encoder, dict[str, int]]:
    store = _store(desk, wanted, cohort)
    told = store.manifest
    desk.progress.note(f"{told.images} images of {told.patients} patients, all of them together")
    for reason, count in told.refused.items():
        desk.progress.note(f"left out {count}: {reason}")
    if told.patients < MINIMUM_PATIENTS:
        raise UnsuitableData(
            f"fewer than {MINIMUM_PATIENTS} patients can be used",
            fix="Give more patients; check that the table or Patient ID tells them apart.",
        )
    source, state, recipe = StoreSource(store), wanted.folder / STATE, wanted.recipe
    network = (
        fit_local(source, recipe, state=state, progress=desk.progress)
        if isinstance(recipe, LocalRecipe)
        else fit(source, recipe, state=state, progress=desk.progress)
    )
    provenance = Provenance("private", SOURCE, sketch_of(store.pixel_digests), recipe=recipe.to_json())
    return Encoder(wanted.role, network, provenance), {"images": told.images, "patients": told.patients}


def _store(desk: Desk, wanted: Wanted, cohort: Path) -> CohortStore:
    """The pixels at the fit's size, on disk; read once, and compared with their digest afterwards."""
    place = wanted.folder / STORE
    if place.exists():
        store = CohortStore.open(place)
        store.verify()
        return store
    desk.progress.stage("reading the private archive")
    return ingest(_reading(wanted, cohort), cohort, place, split=None, progress=desk.progress.step)


def _reading(wanted: Wanted, cohort: Path) -> CohortSettings:
    side = wanted.side or SIDE
    if wanted.policy is None:
        return settings_for([cohort], side)
    settings = load_policy(shipped_file("policies", wanted.policy)).cohort
    return settings.model_copy(update={"resolution": side, "masks": "optional"})
