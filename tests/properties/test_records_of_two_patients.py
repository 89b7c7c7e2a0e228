"""What one patient's records can do to another's: the documented exceptions, and nothing beside them.

A change of one patient's training data by another's records breaks the guarantee: the sensitivity counts one patient.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from synthrelease import workflow
from synthrelease.cohort.store import CohortStore
from synthrelease.errors import UsageError
from synthrelease.privacy.budget import reserve
from synthrelease.privacy.overlap import Patients
from synthrelease.records.ledger import Ledger
from synthrelease.records.refusals import Reason
from synthrelease.training.planning import plan_of
from tests.properties.replay_cohort import (
    FIRST,
    ISSUER,
    Hospital,
    Register,
    copied,
    grown,
    ordinary_patients,
    split_seed,
    uid,
    write_hospital,
    write_register,
)
from tests.properties.replay_run import MOMENTS, read, released, rules, trainable
from tests.properties.replay_tape import Tape, Told, violations

VICTIM = "P003"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """The ordinary patients, as DICOM."""
    return write_hospital(tmp_path_factory.mktemp("hospital") / "private")


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """The ordinary patients, as a table."""
    return write_register(tmp_path_factory.mktemp("register") / "private")


def read_dicom(hospital: Hospital, home: Path, **cohort: Any) -> CohortStore:
    """The store of a DICOM folder."""
    return read(rules(MOMENTS, **cohort), hospital.folder, home, split_seed(ISSUER))[2]


def read_table(register: Register, home: Path) -> CohortStore:
    """The store of a table."""
    window = {"mode": "fixed", "low": 0.0, "high": 4095.0}
    return read(rules(MOMENTS, window=window, masks="required"), register.table, home, split_seed(""))[2]


def test_an_image_that_two_patients_claim_is_left_out_for_both(hospital: Hospital, tmp_path: Path) -> None:
    before = trainable(read_dicom(hospital, tmp_path / "before"))
    more = grown(hospital, tmp_path / "private")
    more.image(FIRST, 0)
    more.image(FIRST, 1, SOPInstanceUID=uid(VICTIM, 0), label=None)
    more.write_table()
    store = read_dicom(more, tmp_path / "after")
    after = trainable(store)
    assert store.manifest.refused == {Reason.TWO_PATIENTS.value: 2}
    assert set(before) - set(after) == {VICTIM}  # its only image
    assert set(after) - set(before) == {FIRST}
    assert all(after[patient] == before[patient] for patient in set(before) - {VICTIM})


def test_a_segmentation_that_names_another_patient_takes_the_image_out(hospital: Hospital, tmp_path: Path) -> None:
    before = trainable(read_dicom(hospital, tmp_path / "before"))
    more = grown(hospital, tmp_path / "private")
    more.image(FIRST, 0)
    more.image(VICTIM, 0, home=FIRST, segmentation_of=FIRST, SOPInstanceUID=uid(VICTIM, 0), label=None)
    (more.folder / FIRST / "IMG0.dcm").unlink()
    more.write_table()
    store = read_dicom(more, tmp_path / "after")
    assert store.manifest.refused == {Reason.TWO_PATIENTS.value: 1}
    assert set(before) - set(trainable(store)) == {VICTIM}


def test_a_picture_in_the_rows_of_two_patients_is_left_out_for_both(register: Register, tmp_path: Path) -> None:
    before = trainable(read_table(register, tmp_path / "before"))
    more = copied(register, tmp_path / "private")
    more.picture(FIRST, 0)
    more.picture(FIRST, 1, image=f"{VICTIM}-0.npy")
    more.write_table()
    store = read_table(more, tmp_path / "after")
    after = trainable(store)
    assert store.manifest.refused == {Reason.TWO_PATIENTS.value: 2}
    assert set(before) - set(after) == {VICTIM}
    assert all(after[patient] == before[patient] for patient in set(before) - {VICTIM})


def test_these_exceptions_are_told_to_whoever_reads_the_claim() -> None:
    told = " ".join((Path(__file__).parents[2] / "README.md").read_text().split())
    assert "an image that two patients claim is left out for both" in told
    assert "a segmentation that names another patient than its image takes the image out" in told


def test_nothing_that_leaves_tells_that_a_patient_is_of_another_cohort_too(hospital: Hospital, tmp_path: Path) -> None:
    def told(patients: Hospital, home: Path, tape: Tape) -> tuple[Told, Tape]:
        desk, run, store = read(rules(MOMENTS), patients.folder, home, split_seed(ISSUER))
        reserve(
            Ledger(desk.ledgers / "elsewhere.jsonl"),
            plan_of(workflow.policy_of(run)),
            run="earlier",
            policy_digest="policy",
            cohort_digest="cohort",
            who="Operator",
            lifetime_epsilon=None,
            patients=Patients([f"{ISSUER}|{FIRST}", f"{ISSUER}|somebody else"]),
        )
        return released(desk, run, store, tape)

    without, tape = told(hospital, tmp_path / "without", Tape())
    more = grown(hospital, tmp_path / "private")
    more.image(FIRST, 0)
    more.write_table()
    with_it, _ = told(more, tmp_path / "with", tape)
    assert violations(with_it, without, FIRST) == []


@pytest.mark.parametrize("kind", ["DICOM", "table"])
def test_a_cell_of_one_patient_does_not_end_in_the_row_of_another(
    kind: str, hospital: Hospital, register: Register, tmp_path: Path
) -> None:
    """A table may be refused as a whole; what is read of it may not depend on how one cell is written."""
    folder = hospital.folder if kind == "DICOM" else register.folder

    def patients(table: str, home: Path) -> set[str]:
        more = grown(hospital, home / "private") if kind == "DICOM" else copied(register, home / "private")
        (more.folder / "labels.csv").unlink()
        (more.folder / "labels.csv").write_text(table)
        store = read_dicom(more, home / "home") if isinstance(more, Hospital) else read_table(more, home / "home")
        return set(store.patient_ids)

    lines = (folder / "labels.csv").read_text().splitlines(keepends=True)
    row = f'{uid(FIRST, 0)},"normal\n' if kind == "DICOM" else f'none.npy,{FIRST},"normal,none.npy\n'
    before = patients("".join(lines), tmp_path / "before")
    # The table's order is the reverse of the patients': the last rows are those of the first.
    with contextlib.suppress(UsageError):
        assert patients("".join([*lines[:-2], row, *lines[-2:]]), tmp_path / "after") == before


def by_patient(hospital: Hospital, header: str, *rows: tuple[str, ...]) -> dict[str, Any]:
    """What is read of every patient of this hospital, their classes from a table by patient."""
    (hospital.folder / "labels.csv").unlink()
    (hospital.folder / "labels.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    store = read_dicom(hospital, hospital.folder / ".home", label={"key": "PatientID"})
    found = {}
    for index, patient in enumerate(store.patient_ids):
        rows_of = store.rows_of(index)
        found[patient] = (store.images(rows_of).tobytes(), store.masks(rows_of).tobytes(), *store.labels[rows_of])
    return {patient: content for patient, content in found.items() if patient.startswith(f"{ISSUER}|")}


@pytest.mark.parametrize("first", [True, False])
def test_a_class_by_patient_is_not_disputed_by_another_hospitals_patient_of_that_id(
    first: bool, hospital: Hospital, tmp_path: Path
) -> None:
    header = "PatientID,issuer,label"
    own = [(patient, ISSUER, labels[0]) for patient, labels in ordinary_patients().items()]
    before = by_patient(grown(hospital, tmp_path / "before"), header, *own)
    more = grown(hospital, tmp_path / "after")
    more.image(VICTIM, 7, issuer="OTHER", home="other")
    stranger = (VICTIM, "OTHER", "rare")
    after = by_patient(more, header, *([stranger, *own] if first else [*own, stranger]))
    assert after == before


@pytest.mark.parametrize("rows", [[], [(VICTIM, "rare")], [(VICTIM, ordinary_patients()[VICTIM][0])]])
def test_a_table_by_patient_that_does_not_tell_two_hospitals_apart_is_refused_as_a_whole(
    rows: list[tuple[str, str]], hospital: Hospital, tmp_path: Path
) -> None:
    """Left out, the patients of that id would be ones whose data follow from another's."""
    own = [(patient, labels[0]) for patient, labels in ordinary_patients().items()]
    more = grown(hospital, tmp_path / "after")
    more.image(VICTIM, 7, issuer="OTHER", home="other")
    with pytest.raises(UsageError, match="issuer") as caught:
        by_patient(more, "PatientID,label", *own, *rows)
    assert VICTIM not in str(caught.value)


def test_a_mask_that_only_tells_its_place_does_nothing_to_another_patient(hospital: Hospital, tmp_path: Path) -> None:
    before = trainable(read_dicom(hospital, tmp_path / "before"))
    more = grown(hospital, tmp_path / "private")
    more.image(FIRST, 0)
    path = more.folder / FIRST / "SEG0.dcm"
    victims = dcmread(more.folder / VICTIM / "IMG0.dcm")
    mask = dcmread(path)
    del mask.ReferencedSeriesSequence
    for frame in mask.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    mask.FrameOfReferenceUID = victims.FrameOfReferenceUID
    path.unlink()
    mask.save_as(path)
    more.write_table()
    after = trainable(read_dicom(more, tmp_path / "after"))
    assert {patient: after[patient] for patient in before} == before


def test_two_people_whose_issuer_and_id_read_alike_are_two_patients(hospital: Hospital, tmp_path: Path) -> None:
    more = grown(hospital, tmp_path / "private")
    more.image("B|C", 0, issuer="A", home="one")
    more.image("C", 1, issuer="A|B", home="two")
    more.write_table()
    assert len(read_dicom(more, tmp_path / "home").patient_ids) == len(ordinary_patients()) + 2


def test_an_image_has_the_class_of_the_instance_that_its_header_names(hospital: Hospital, tmp_path: Path) -> None:
    """A data set that types its UID wrongly, in a file that names another patient's instance before it."""

    def patients(more: Hospital) -> set[str]:
        path = more.image(FIRST, 0, label=None, masked=False)
        names_two_instances(path, uid(VICTIM, 0))
        more.write_table()
        return set(read_dicom(more, more.folder / ".home").patient_ids)

    both, alone = grown(hospital, tmp_path / "both"), grown(hospital, tmp_path / "alone")
    shutil.rmtree(alone.folder / VICTIM)
    alone.rows = [row for row in alone.rows if row[0] != uid(VICTIM, 0)]
    assert patients(both) - {f"{ISSUER}|{VICTIM}"} == patients(alone)


def names_two_instances(path: Path, other: str) -> None:
    """Put another instance into the file meta information, and the wrong type on the data set's own."""
    content = path.read_bytes().replace(b"\x08\x00\x18\x00UI", b"\x08\x00\x18\x00US")
    at = content.index(b"\x02\x00\x03\x00UI") + 6
    length, value = int.from_bytes(content[at : at + 2], "little"), other.encode() + b"\0" * (len(other) % 2)
    content = content[:at] + len(value).to_bytes(2, "little") + value + content[at + 2 + length :]
    whole = int.from_bytes(content[140:144], "little") + len(value) - length
    path.write_bytes(content[:140] + whole.to_bytes(4, "little") + content[144:])
