"""Record and replay: a release is made without one patient, then with, under the mechanisms' outputs of the first run.

For every patient, however strange: the same mechanisms in the same order, no sum moved by more than its declared
sensitivity, and everything that leaves equal to the last bit. Then what leaves depends on the patient through the
mechanisms alone, and those are accounted for (Cebere et al., 2026, "Re:cord-play").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from tests.properties.replay_cohort import (
    CLASSES,
    FIRST,
    HELD_OUT,
    ISSUER,
    LAST,
    MIDDLE,
    SIDE,
    Hospital,
    grown,
    picture,
    split_seed,
    uid,
    write_hospital,
)
from tests.properties.replay_run import DIFFUSION, OTHERS, largest, read, released, rules, trainable
from tests.properties.replay_tape import Tape, Told, violations

Visit = Callable[[Hospital, str], object]
"""What a stranger leaves in a hospital's folder."""


@dataclass(frozen=True)
class Rehearsal:
    """A release of the ordinary patients, and its tape."""

    hospital: Hospital
    rules: dict[str, Any]
    seed: str
    told: Told
    tape: Tape

    def with_stranger(self, visit: Visit, stranger: str, folder: Path) -> Told:
        """The release with one patient more, its mechanisms giving out what they gave before."""
        hospital = grown(self.hospital, folder / "private")
        visit(hospital, stranger)
        hospital.write_table()
        return released(*read(self.rules, hospital.folder, folder / "home", self.seed), self.tape)[0]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """The ordinary patients."""
    return write_hospital(tmp_path_factory.mktemp("hospital") / "private")


def rehearsed(generator: dict[str, Any], hospital: Hospital, home: Path) -> Rehearsal:
    """A generator's moments, warm-up and private steps on the ordinary patients."""
    seed, policy = split_seed(ISSUER), rules(generator)
    told, tape = released(*read(policy, hospital.folder, home, seed), Tape())
    return Rehearsal(hospital, policy, seed, told, tape)


@pytest.fixture(scope="module")
def diffusion(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """The diffusion's rehearsal."""
    return rehearsed(DIFFUSION, hospital, tmp_path_factory.mktemp("diffusion") / "home")


def images(*labels: str, **changes: Any) -> Visit:
    """A patient with one image a label."""

    def visit(hospital: Hospital, patient: str) -> None:
        for number, label in enumerate(labels):
            hospital.image(patient, number, label=label, **changes)

    return visit


def one_without_a_mask(hospital: Hospital, patient: str) -> None:
    hospital.image(patient, 0, masked=False)
    hospital.image(patient, 1)


def twin_of(other: str) -> Visit:
    """A patient whose only image has the pixels of another patient's first."""
    levels, mask = picture(other, 0)
    return images("sick", levels=levels, mask=mask)


def half_and_half() -> np.ndarray:
    """The largest contrast there is."""
    levels = np.zeros((SIDE, SIDE), np.uint16)
    levels[:, ::2] = 4095
    return levels


TRAINING: dict[str, tuple[Visit, str]] = {
    "ordinary, first": (images("normal"), FIRST),
    "ordinary, in the middle": (images("normal", "normal"), MIDDLE),
    "ordinary, last": (images("sick"), LAST),
    "eight images": (images(*["sick"] * 8), MIDDLE),
    "an image of every class": (images(*CLASSES), LAST),
    "rare class": (images("rare", "rare"), FIRST),
    "empty mask": (images("normal", mask=np.zeros((SIDE, SIDE), np.bool_)), MIDDLE),
    "full mask": (images("normal", mask=np.ones((SIDE, SIDE), np.bool_)), FIRST),
    "one image without a mask": (one_without_a_mask, LAST),
    "largest contrast": (images("rare", levels=half_and_half()), MIDDLE),
    "another shape": (
        images("normal", levels=picture("wide")[0][:12], mask=picture("wide")[1][:12], ImagerPixelSpacing=[3.0, 1.0]),
        FIRST,
    ),
    "pixels of a training patient": (twin_of("P003"), LAST),
}
"""What a patient may leave that is trained on."""


@pytest.mark.parametrize("strange", list(TRAINING))
def test_a_release_depends_on_a_patient_through_the_mechanisms_alone(
    strange: str, diffusion: Rehearsal, tmp_path: Path
) -> None:
    visit, stranger = TRAINING[strange]
    told = diffusion.with_stranger(visit, stranger, tmp_path)
    assert violations(told, diffusion.told, stranger) == []
    assert stranger in told.trained
    assert largest(told.calls, diffusion.told.calls) > 0.5  # the stranger is seen: the comparison is of something


OF_OTHERS: dict[str, tuple[Visit, str]] = {
    "ordinary": (images("normal"), MIDDLE),
    "several images, one without a mask": (one_without_a_mask, LAST),
    "rare class, largest contrast": (images("rare", "rare", levels=half_and_half()), FIRST),
}


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """As ``diffusion``, of another generator with steps of its own."""
    return rehearsed(OTHERS[request.param], hospital, tmp_path_factory.mktemp("other") / "home")


@pytest.mark.parametrize("strange", OF_OTHERS)
def test_every_generator_depends_on_a_patient_through_the_mechanisms_alone(
    strange: str, other: Rehearsal, tmp_path: Path
) -> None:
    visit, stranger = OF_OTHERS[strange]
    told = other.with_stranger(visit, stranger, tmp_path)
    assert violations(told, other.told, stranger) == []
    assert stranger in told.trained
    assert largest(told.calls, other.told.calls) > 0.5


def test_a_patient_without_masks_is_in_the_pool_of_a_generator_that_needs_few(
    hospital: Hospital, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    um = rehearsed(OTHERS["um"], hospital, tmp_path_factory.mktemp("few") / "home")
    again = um.with_stranger(images("normal", "sick", masked=False), MIDDLE, tmp_path)
    assert violations(again, um.told, MIDDLE) == []
    assert MIDDLE in again.trained
    assert largest(again.calls, um.told.calls) > 0.5


UNUSED: dict[str, tuple[Visit, str]] = {
    "held out, with the pixels of a training patient": (twin_of("P003"), HELD_OUT),
    "no image with a mask": (images("normal", "sick", masked=False), MIDDLE),
}


@pytest.mark.parametrize("strange", list(UNUSED))
def test_a_patient_who_is_not_trained_on_changes_nothing_at_all(
    strange: str, diffusion: Rehearsal, tmp_path: Path
) -> None:
    visit, stranger = UNUSED[strange]
    told = diffusion.with_stranger(visit, stranger, tmp_path)
    assert violations(told, diffusion.told, stranger) == []
    assert stranger not in told.trained
    assert largest(told.calls, diffusion.told.calls) == 0


def also(broken: Visit) -> Visit:
    """A patient with one sound image and another that is broken."""

    def visit(hospital: Hospital, patient: str) -> None:
        hospital.image(patient, 0)
        broken(hospital, patient)

    return visit


def an_image(number: int = 1, **changes: Any) -> Visit:
    """An image with those elements."""
    return lambda hospital, patient: hospital.image(patient, number, **changes)


def cut(share: float, of: str = "IMG1.dcm") -> Visit:
    """A file that ends early."""

    def visit(hospital: Hospital, patient: str) -> None:
        path = hospital.image(patient, 1).with_name(of)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return visit


def replaced(old: bytes, new: bytes, of: str = "IMG1.dcm") -> Visit:
    """A file with other bytes in it, of equal number."""

    def visit(hospital: Hospital, patient: str) -> None:
        path = hospital.image(patient, 1).with_name(of)
        content = path.read_bytes()
        assert len(old) == len(new)
        assert old in content
        path.write_bytes(content.replace(old, new))

    return visit


def file_of(content: bytes, name: str = "IMG1.dcm") -> Visit:
    """A file of that content."""

    def visit(hospital: Hospital, patient: str) -> None:
        (hospital.folder / patient).mkdir(exist_ok=True)
        (hospital.folder / patient / name).write_bytes(content)

    return visit


def two_contents_of_one_instance(hospital: Hospital, patient: str) -> None:
    for number in (1, 2):
        hospital.image(patient, number, SOPInstanceUID=uid(patient, "once"))


def two_classes_of_one_instance(hospital: Hospital, patient: str) -> None:
    hospital.image(patient, 1, SOPInstanceUID=uid(patient, "once"))
    hospital.rows.append((uid(patient, "once"), "sick"))


def a_copy_elsewhere(hospital: Hospital, patient: str) -> None:
    content = hospital.image(patient, 1).read_bytes()
    file_of(content, "COPY.dcm")(hospital, patient)


def mask_of_another_size(hospital: Hospital, patient: str) -> None:
    path = hospital.image(patient, 1)
    dataset = dcmread(path)
    dataset.Rows = dataset.Columns = 12
    dataset.PixelData = dataset.PixelData[: 12 * 12 * 2]
    dataset.save_as(path)


def flat() -> np.ndarray:
    """One value everywhere."""
    return np.full((SIDE, SIDE), 700, np.uint16)


BROKEN: dict[str, Visit] = {
    "cut in the pixels": cut(0.9),
    "cut in the header": cut(0.2),
    "empty file": file_of(b""),
    "not DICOM": file_of(b"not DICOM at all"),
    "only a preamble": file_of(bytes(128) + b"DICM"),
    "random bytes after the preamble": file_of(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(4000)),
    "run lengths that are none": replaced(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
    "another byte order": replaced(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"),
    "types of values left out": replaced(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"),
    "unknown transfer syntax": replaced(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"),
    "one value": an_image(levels=flat()),
    "too small": an_image(levels=picture("small")[0][:7], mask=picture("small")[1][:7]),
    "colour": an_image(PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0),
    "several frames": an_image(NumberOfFrames=2),
    "more rows than pixels": an_image(Rows=60_000, Columns=60_000),
    "burned in": an_image(BurnedInAnnotation="YES"),
    "no class": an_image(label=None),
    "class that the policy does not know": an_image(label="martian"),
    "values that are not finite": an_image(RescaleSlope="1e308", RescaleIntercept="1e308"),
    "empty window": an_image(WindowWidth="0", RescaleSlope="1e-30"),
    "mask cut short": cut(0.8, "SEG1.dcm"),
    "mask of another size": mask_of_another_size,
    "two contents under one instance": two_contents_of_one_instance,
    "two classes of one instance": two_classes_of_one_instance,
    "a file twice": a_copy_elsewhere,
    "no instance": replaced(b"\x08\x00\x18\x00UI", b"\x08\x00\x19\x00UI"),
    "a table in the patient's folder": file_of(b"SOPInstanceUID,label\n", "labels.csv"),
}
"""What a patient may leave that cannot be read, or only in part."""


@pytest.mark.parametrize(("number", "broken"), list(enumerate(BROKEN)))
def test_a_file_that_cannot_be_read_changes_nothing_for_other_patients(
    number: int, broken: str, diffusion: Rehearsal, tmp_path: Path
) -> None:
    stranger = (FIRST, LAST)[number % 2]
    hospital = grown(diffusion.hospital, tmp_path / "private")
    also(BROKEN[broken])(hospital, stranger)
    hospital.write_table()
    found = trainable(read(diffusion.rules, hospital.folder, tmp_path / "home", diffusion.seed)[2])
    assert found.pop(stranger)
    assert list(found.items()) == list(diffusion.told.trained.items())
