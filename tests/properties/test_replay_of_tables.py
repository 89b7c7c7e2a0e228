"""Record and replay, from a table of pictures: what a row or a file of one patient can do to the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.properties.replay_cohort import (
    CLASSES,
    FIRST,
    HELD_OUT,
    LAST,
    MIDDLE,
    SEGMENT,
    SIDE,
    Register,
    copied,
    picture,
    split_seed,
    write_register,
)
from tests.properties.replay_run import MOMENTS, largest, read, released, rules, trainable
from tests.properties.replay_tape import Tape, Told, violations

Visit = Callable[[Register, str], object]
WINDOW = {"mode": "fixed", "low": 0.0, "high": 4095.0}


@dataclass(frozen=True)
class Rehearsal:
    """A release of the ordinary patients, and its tape."""

    register: Register
    rules: dict[str, Any]
    seed: str
    told: Told
    tape: Tape


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """The closed form on the ordinary patients."""
    folder = tmp_path_factory.mktemp("register")
    register, seed = write_register(folder / "private"), split_seed("")
    policy = rules(MOMENTS, window=WINDOW, masks="required")
    told, tape = released(*read(policy, register.table, folder / "home", seed), Tape())
    return Rehearsal(register, policy, seed, told, tape)


def values(**changes: float) -> npt.NDArray[np.float32]:
    """A picture with one pixel of another value."""
    out = picture("strange")[0].astype(np.float32)
    for value in changes.values():
        out[3, 3] = value
    return out


def rows(*labels: str, **changes: Any) -> Visit:
    """A patient with one image a label."""

    def visit(register: Register, patient: str) -> None:
        for number, label in enumerate(labels):
            register.picture(patient, number, label=label, **changes)

    return visit


TRAINING: dict[str, tuple[Visit, str]] = {
    "one row": (rows("normal"), FIRST),
    "forty rows": (rows(*["rare"] * 40), MIDDLE),
    "every class": (rows(*CLASSES), LAST),
    "largest value of the type": (rows("sick", values=values(pixel=3e38)), FIRST),
    "values far outside the window": (
        rows("rare", values=(picture("far")[0] - 1400.0).astype(np.float32) * 1e30),
        LAST,
    ),
}


@pytest.mark.parametrize("strange", list(TRAINING))
def test_a_release_from_a_table_depends_on_a_patient_through_the_mechanisms_alone(
    strange: str, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    visit, stranger = TRAINING[strange]
    register = copied(rehearsal.register, tmp_path / "private")
    visit(register, stranger)
    register.write_table()
    told, _ = released(*read(rehearsal.rules, register.table, tmp_path / "home", rehearsal.seed), rehearsal.tape)
    assert violations(told, rehearsal.told, stranger) == []
    assert largest(told.calls, rehearsal.told.calls) > 0.5


def picture_file(image: Image.Image, name: str) -> Visit:
    """A picture of another kind of file."""

    def visit(register: Register, patient: str) -> None:
        register.picture(patient, 1, image=name)
        image.save(register.folder / name)

    return visit


def bytes_of(content: bytes, name: str) -> Visit:
    """A file of that content, named by a row."""

    def visit(register: Register, patient: str) -> None:
        register.picture(patient, 1, image=name)
        (register.folder / name).write_bytes(content)

    return visit


def nifti_of_no_number(register: Register, patient: str) -> None:
    import nibabel as nib

    name = f"{patient}-1.nii"
    nib.save(nib.Nifti1Image(values(pixel=float("nan")), np.eye(4)), register.folder / name)
    register.picture(patient, 1, image=name)


def cell(**cells: str) -> Visit:
    """A row with those cells."""
    return lambda register, patient: register.picture(patient, 1, **cells)


def disputed(register: Register, patient: str) -> None:
    for label in ("normal", "sick"):
        register.picture(patient, 1, label=label)


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
BROKEN: dict[str, Visit] = {
    "a pixel that is no number": rows("sick", values=values(pixel=float("nan"))),
    "an infinite pixel": rows("sick", values=values(pixel=float("-inf"))),
    "a value that only a double holds": rows("sick", values=picture("double")[0].astype(np.float64) * 1e300),
    "values that are too small to tell apart": rows("sick", values=picture("tiny")[0].astype(np.float32) * 1e-42),
    "one value": rows("sick", values=np.full((SIDE, SIDE), 7.0, np.float32)),
    "complex values": rows("sick", values=np.ones((SIDE, SIDE), np.complex64)),
    "objects": rows("sick", values=np.array([[None] * SIDE] * SIDE, dtype=object)),
    "a volume": rows("sick", values=np.ones((SIDE, SIDE, 9), np.float32)),
    "a mask that is no number": rows("sick", mask=values(pixel=float("nan"))),
    "a mask of another size": rows("sick", mask=picture("small")[1][:9]),
    "a mask of several labels": rows("sick", mask=np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 5),
    "a mask that is not there": cell(**{f"mask_{SEGMENT}": "nowhere.npy"}),
    "no mask named": cell(**{f"mask_{SEGMENT}": ""}),
    "a colour picture": picture_file(COLOURS, "colour.png"),
    "half a picture": bytes_of(b"\x89PNG\r\n\x1a\n" + bytes(40), "half.png"),
    "half an array": bytes_of(b"\x93NUMPY\x01\x00", "half.npy"),
    "an array that promises more than there is": bytes_of(
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (900000, 900000), }".ljust(127)
        + b"\n",
        "vast.npy",
    ),
    "a NIfTI pixel that is no number": nifti_of_no_number,
    "a file that is not there": cell(image="nowhere.npy"),
    "a folder in place of a file": cell(image="."),
    "no patient": lambda register, patient: register.picture(patient, 1, patient_id=""),
    "an unknown class": cell(label="martian"),
    "two classes": disputed,
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # a value that only a double holds
@pytest.mark.parametrize(("number", "broken"), list(enumerate(BROKEN)))
def test_a_row_that_cannot_be_read_changes_nothing_for_other_patients(
    number: int, broken: str, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    stranger = (FIRST, LAST)[number % 2]
    register = copied(rehearsal.register, tmp_path / "private")
    BROKEN[broken](register, stranger)
    register.write_table()
    found = trainable(read(rehearsal.rules, register.table, tmp_path / "home", rehearsal.seed)[2])
    assert stranger not in found
    assert list(found.items()) == list(rehearsal.told.trained.items())


def test_a_row_of_a_patient_who_is_held_out_changes_nothing_at_all(rehearsal: Rehearsal, tmp_path: Path) -> None:
    register = copied(rehearsal.register, tmp_path / "private")
    rows("normal", "sick")(register, HELD_OUT)
    register.write_table()
    found = trainable(read(rehearsal.rules, register.table, tmp_path / "home", rehearsal.seed)[2])
    assert list(found.items()) == list(rehearsal.told.trained.items())
