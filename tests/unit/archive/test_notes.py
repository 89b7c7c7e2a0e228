"""What a generator tells of each image becomes columns of the label table, in one form and in the same bytes each time."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthrelease.archive.columns import columns
from synthrelease.archive.notes import coverage_of, noted_in
from synthrelease.archive.sampler import generated_samples, note_cells
from synthrelease.archive.samples import SampleBatch, shard_size
from synthrelease.archive.texts import CROISSANT, README, expected_texts
from synthrelease.archive.writer import Samples, held_samples, write_archive
from synthrelease.dicom.release.notes import Note
from synthrelease.dicom.release.rules import LABEL_COLUMNS
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.generators.protocol import Batch
from synthrelease.records.digests import digest_of, digest_of_file, manifest_of
from synthrelease.records.proportions import wilson
from tests.unit.archive.conftest import random_samples, small_settings

NOTES = (
    Note("accepted", "1 when the guide saw what was asked for"),
    Note("restarts", "fresh starts"),
    Note("guide_nodule", "probability of the guide that the image shows nodule"),
    Note("critic", "score of the critic"),
)
SETTINGS = small_settings(2 * shard_size(1) + 3, notes=NOTES, reports=True)


def noted(settings: ArchiveSettings = SETTINGS, seed: int = 0) -> SampleBatch:
    rng = np.random.default_rng(seed)
    count = settings.images
    told = {
        "accepted": torch.from_numpy(rng.integers(0, 2, count)),
        "restarts": torch.from_numpy(rng.integers(0, 5, count)),
        "guide_nodule": torch.from_numpy(rng.uniform(0, 1, count)),
        "critic": torch.from_numpy(rng.normal(0, 3, count)),
    }
    return replace(random_samples(settings, seed), notes=note_cells(told, settings.notes))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "archive"
    write_archive(folder, held_samples(noted(), SETTINGS), SETTINGS)
    return folder


def test_each_row_has_the_numbers_of_its_image(written: Path) -> None:
    batch = noted()
    rows = rows_of(written)
    assert list(rows[0])[-4:] == ["accepted", "restarts", "guide_nodule", "critic"]
    assert list(rows[0])[:-4] == [column.name for column in columns(replace(SETTINGS, notes=()))]
    assert [tuple(row[note.name] for note in NOTES) for row in rows] == list(batch.notes)
    assert {len(row["guide_nodule"]) for row in rows} == {5}
    assert [row["label"] for row in rows] == [SETTINGS.classes[label] for label in batch.labels]


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path, written: Path, processes: int) -> None:
    write_archive(tmp_path / "archive", held_samples(noted(), SETTINGS), SETTINGS, processes=processes)
    assert manifest_of(tmp_path / "archive") == manifest_of(written)


def interrupted(target: Path, batch: SampleBatch) -> Path:
    held = held_samples(batch, SETTINGS)

    def draw(shard: int) -> SampleBatch:
        if shard == 2:
            raise RuntimeError("stop")
        return held.draw(shard)

    with pytest.raises(RuntimeError, match="stop"):
        write_archive(target, Samples(held.digest, draw), SETTINGS)
    return next(target.parent.glob(".partial-archive-*"))


def test_an_interrupted_archive_goes_on_with_the_notes_it_has(tmp_path: Path, written: Path) -> None:
    interrupted(tmp_path / "archive", noted())
    record = write_archive(tmp_path / "archive", held_samples(noted(), SETTINGS), SETTINGS)
    assert record.taken_over == 2 * shard_size(1)
    assert manifest_of(tmp_path / "archive") == manifest_of(written)


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows.replace(",0,", ",maybe,", 1),
        lambda rows: rows.replace("\n", ",1\n", 1),
        lambda rows: "\n".join(line.rpartition(",")[0] for line in rows.splitlines()) + "\n",
        lambda rows: rows.replace("0.", "0.0", 1),
    ],
    ids=["a word", "a cell more", "a column less", "a digit more"],
)
def test_an_entry_whose_notes_have_another_form_is_refused(tmp_path: Path, edit: Any) -> None:
    partial = interrupted(tmp_path / "archive", noted())
    path = partial / "journal" / "0000001"
    entry = json.loads(path.read_text())["entry"]
    changed = edit(entry["rows"])
    assert changed != entry["rows"]
    entry["rows"] = changed
    path.write_text(json.dumps({"digest": digest_of(entry), "entry": entry}))
    with pytest.raises(IntegrityError, match="is not as a writer left it"):
        write_archive(tmp_path / "archive", held_samples(noted(), SETTINGS), SETTINGS)


def test_other_notes_or_other_columns_are_another_plan(tmp_path: Path) -> None:
    from synthrelease.archive.writer import _plan
    from synthrelease.dicom.release.templates import release_templates

    one = held_samples(noted(), SETTINGS)
    other = held_samples(replace(noted(), notes=tuple(reversed(noted().notes))), SETTINGS)
    renamed = replace(SETTINGS, notes=(*NOTES[:3], Note("critic", "another meaning")))
    plans = {
        _plan(one, release_templates(SETTINGS)),
        _plan(other, release_templates(SETTINGS)),
        _plan(one, release_templates(renamed)),
    }
    assert len(plans) == 3


@pytest.mark.parametrize("images", [shard_size(1) - 1, 2 * shard_size(1)])
def test_an_archive_without_notes_has_the_bytes_that_it_had(tmp_path: Path, images: int) -> None:
    """The digest of held samples, which enters the plan, does not change either."""
    settings = small_settings(images)
    batch = random_samples(settings)
    assert batch.notes == ()
    write_archive(tmp_path / "archive", held_samples(batch, settings), settings)
    assert list(rows_of(tmp_path / "archive")[0]) == list(LABEL_COLUMNS[:5])
    assert list(noted_in(tmp_path / "archive", settings)) == []
    assert coverage_of(tmp_path / "archive", settings) is None
    for text in (README, CROISSANT):
        assert "accepted" not in (tmp_path / "archive" / text).read_text()


def test_every_label_table_has_the_columns_that_no_note_may_be_called() -> None:
    assert tuple(column.name for column in columns(replace(SETTINGS, notes=()))) == LABEL_COLUMNS


@pytest.mark.parametrize("names", [("label",), ("accepted", "accepted"), ("a b",), ("",), ("report_file",)])
def test_a_note_that_cannot_be_a_column_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="cannot be a further column"):
        small_settings(notes=tuple(Note(name, "") for name in names))


GOOD = noted(small_settings(2, notes=NOTES))


@pytest.mark.parametrize(
    "notes",
    [(), GOOD.notes[:1], tuple(row[:3] for row in GOOD.notes), (GOOD.notes[0], ("2", "0", "0.500", "0.000"))],
    ids=["none", "of one image", "a column less", "neither 0 nor 1"],
)
def test_notes_that_do_not_fit_are_refused(tmp_path: Path, notes: Any) -> None:
    settings = small_settings(2, notes=NOTES)
    with pytest.raises(UnsuitableData, match="noted of the images"):
        write_archive(tmp_path / "archive", held_samples(replace(GOOD, notes=notes), settings), settings)
    with pytest.raises(UnsuitableData, match="noted of the images"):
        write_archive(tmp_path / "archive", held_samples(GOOD, small_settings(2)), small_settings(2))


@pytest.mark.parametrize(
    ("name", "value", "cell"),
    [
        ("accepted", 1.0, "1"),
        ("restarts", 2.0, "2"),
        ("guide_x", 0.9996, "1.000"),
        ("critic", -0.0001, "0.000"),
        ("critic", -1.25, "-1.250"),
    ],
)
def test_a_number_has_one_form(name: str, value: float, cell: str) -> None:
    assert Note(name, "").cell(value) == cell


@pytest.mark.parametrize(
    ("name", "value"),
    [("accepted", 2.0), ("restarts", -1.0), ("guide_x", 1.1), ("critic", float("nan")), ("critic", 1e7)],
)
def test_a_number_that_its_column_cannot_hold_is_refused(name: str, value: float) -> None:
    with pytest.raises(UnsuitableData, match=f"'{name}' is"):
        Note(name, "").cell(value)


class Telling:
    """A generator that tells the noise it drew."""

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> Batch:
        count = len(labels)
        drawn = torch.rand(count, generator=rng, dtype=torch.float64)
        told = {"critic": drawn, "accepted": (drawn > 0.5).double(), "idle": drawn}
        return Batch(torch.zeros(count, 1, 8, 8), torch.zeros(count, 0, 8, 8), labels, told)


def test_the_sampler_writes_the_asked_columns_in_order_and_draws_them_again() -> None:
    labels = np.zeros(shard_size(1) + 2, dtype=np.uint8)
    notes = (Note("accepted", ""), Note("critic", ""))
    first, again = (generated_samples(Telling(), labels, 3, edition="e", notes=notes) for _ in range(2))  # type: ignore[arg-type]
    assert [len(row) for row in first.draw(1).notes] == [2, 2]
    assert first.draw(1).notes == again.draw(1).notes != first.draw(0).notes[:2]
    assert all((row[0] == "1") == (float(row[1]) > 0.5) for row in first.draw(0).notes)
    assert generated_samples(Telling(), labels, 3, edition="e").draw(0).notes == ()  # type: ignore[arg-type]


def test_a_generator_that_does_not_tell_what_is_promised_is_refused() -> None:
    notes = (Note("restarts", ""),)
    samples = generated_samples(Telling(), np.zeros(2, dtype=np.uint8), 3, edition="e", notes=notes)  # type: ignore[arg-type]
    with pytest.raises(UnsuitableData, match="does not tell restarts"):
        samples.draw(0)


def test_what_the_archive_must_be_is_told_with_the_numbers_that_stand_there(tmp_path: Path, written: Path) -> None:
    labels = [int(label) for label in noted().labels]
    texts = expected_texts(SETTINGS, labels, noted_in(written, SETTINGS))
    assert texts == {path: digest_of_file(written / path) for path in ("labels.csv", README, CROISSANT)}
    # A table that says more than numbers in it is not what is expected.
    edited = tmp_path / "archive"
    edited.mkdir()
    for change in (
        lambda text: text.replace(",1,", ",patient 7,", 1),
        lambda text: text.replace("\n", ",more\n", 3),
        lambda text: text[: len(text) // 2],
        lambda text: "",
    ):
        (edited / "labels.csv").write_text(change((written / "labels.csv").read_text()))
        cells = list(noted_in(edited, SETTINGS))
        assert len(cells) == SETTINGS.images
        assert expected_texts(SETTINGS, labels, cells)["labels.csv"] != digest_of_file(edited / "labels.csv")
    assert set(noted_in(tmp_path / "nowhere", SETTINGS)) == {("",) * 4}


def test_the_coverage_counts_what_was_asked_and_accepted(written: Path) -> None:
    rows = rows_of(written)
    told = coverage_of(written, SETTINGS)
    assert told is not None
    assert list(told["classes"]) == list(SETTINGS.classes)
    for name, counted in told["classes"].items():
        own = [row for row in rows if row["label"] == name]
        accepted = sum(row["accepted"] == "1" for row in own)
        assert (counted["asked"], counted["accepted"]) == (len(own), accepted)
        assert [counted["low"], counted["high"]] == [round(x, 4) for x in wilson(accepted, len(own))]
    assert told["classes"]["effusion"] == {"asked": 0, "accepted": 0, "low": 0.0, "high": 1.0}


def test_readme_and_croissant_say_what_the_columns_are(written: Path) -> None:
    readme = (written / README).read_text()
    document = json.loads((written / CROISSANT).read_text())
    fields = {field["name"]: field for field in document["recordSet"][1]["field"]}
    for note in NOTES:
        assert f"| `{note.name}` | {note.description} |" in readme
        assert fields[note.name]["description"] == note.description
    kinds = [fields[note.name]["dataType"] for note in NOTES]
    assert kinds == ["sc:Integer", "sc:Integer", "sc:Float", "sc:Float"]
    assert "never a diagnosis" in readme
    assert "no diagnosis" in document["rai:dataAnnotationProtocol"]


def test_mlcroissant_reads_the_numbers_as_numbers(written: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    records = list(mlcroissant.Dataset(str(written / CROISSANT)).records("labels"))
    assert len(records) == SETTINGS.images
    assert {type(record["labels/accepted"]) for record in records} <= {int, np.int64}
    rows = rows_of(written)
    assert [record["labels/guide_nodule"] for record in records] == [float(row["guide_nodule"]) for row in rows]
