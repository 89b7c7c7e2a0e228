"""The fast way writes what pydicom and highdicom write, byte for byte; a template tells what does not belong to it."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from synthrelease.archive.samples import contents_of
from synthrelease.archive.shard import image_files
from synthrelease.archive.writer import ArchiveSettings, SampleBatch
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.instances import file_bytes, image_of, masks_of, report_of
from synthrelease.dicom.release.layout import FileKind, Place, path_of, place_at, place_of
from synthrelease.dicom.release.pixels import strays
from synthrelease.dicom.release.templates import ReleaseTemplates, release_templates
from synthrelease.dicom.release.values import patient_id
from synthrelease.dicom.template import PIXELS, Slot, Template, template_between
from synthrelease.errors import IntegrityError
from tests.unit.archive.conftest import FORMS, random_samples, small_settings


def slow(place: Place, levels: Any, masks: Any, label: int, given: ArchiveSettings) -> bytes:
    image = image_of(levels, place.number, given)
    if place.kind is FileKind.MASK:
        return file_bytes(masks_of(image, masks, place.number, given, place.part))
    if place.kind is FileKind.REPORT:
        return file_bytes(report_of(image, given.classes[label], place.number, given))
    return file_bytes(image)


def fast(given: ArchiveSettings, batch: SampleBatch, index: int) -> dict[Place, bytes]:
    contents = contents_of(0, batch, given)
    return dict(image_files(contents, index, release_templates(given)))


def check_same(given: ArchiveSettings, batch: SampleBatch, index: int) -> None:
    levels = contents_of(0, batch, given).levels[index]
    written = fast(given, batch, index)
    assert len(written) == 1 + given.mask_files + given.reports
    for place, content in written.items():
        assert content == slow(place, levels, batch.masks[index] >= 0.5, int(batch.labels[index]), given), place


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("image_class", ImageClass)
def test_every_image_class_is_the_slow_paths_byte_for_byte(image_class: ImageClass, bits: int) -> None:
    given = small_settings(7, image_class=image_class, bits=bits, reports=True, images_per_patient=3)
    batch = random_samples(given)
    for index in (0, 2, 6):
        check_same(given, batch, index)


@pytest.mark.parametrize("one_file", [False, True], ids=["together", "one file a segment"])
@pytest.mark.parametrize(("kind", "compression"), FORMS)
@pytest.mark.parametrize("image_class", ImageClass)
def test_every_mask_form_is_the_slow_paths_byte_for_byte(
    image_class: ImageClass, kind: MaskKind, compression: Compression, one_file: bool
) -> None:
    given = small_settings(
        2,
        image_class=image_class,
        mask_kind=kind,
        mask_compression=compression,
        one_file_per_segment=one_file,
        rows=33,  # odd areas: frames end inside a byte, and pixel data may have an odd length
        columns=35,
    )
    batch = random_samples(given)
    batch.masks[1] = 0
    for index in range(2):
        check_same(given, batch, index)


LEVELS = arrays.arrays(np.float32, (1, 1, 8, 11), elements=st.floats(-1.5, 1.5, width=32))
MASKS = arrays.arrays(np.float32, (1, 3, 8, 11), elements=st.sampled_from([0.0, 0.4999, 0.5, 1.0]))


@pytest.mark.parametrize(("kind", "one_file"), list(itertools.product(MaskKind, (False, True))))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(images=LEVELS, masks=MASKS, label=st.integers(0, 2))
def test_any_content_is_the_slow_paths_byte_for_byte(
    kind: MaskKind, one_file: bool, images: Any, masks: Any, label: int
) -> None:
    segments = ("right_lung", "nodule", "heart")
    given = small_settings(
        1, segments=segments, rows=8, columns=11, mask_kind=kind, one_file_per_segment=one_file, reports=True
    )
    check_same(given, SampleBatch(images, masks, np.array([label])), 0)


@pytest.mark.parametrize("segments", [(), ("lung",), tuple(f"segment_{number}" for number in range(16))])
def test_any_number_of_segments_is_the_slow_paths_byte_for_byte(segments: tuple[str, ...]) -> None:
    given = small_settings(1, segments=segments)
    check_same(given, random_samples(given), 0)


def test_every_width_of_numbers_is_the_slow_paths_byte_for_byte() -> None:
    """Series numbers of one to four digits, patient numbers of six and of seven."""
    many = small_settings(99, images_per_patient=99, one_file_per_segment=True, reports=True)
    batch = random_samples(many)
    for index in (0, 8, 9, 23, 24, 98):
        check_same(many, batch, index)
    given = small_settings(1_000_001)
    assert given.digits == 7
    templates = release_templates(given)
    levels = np.zeros((16, 16), np.uint16)
    expected = templates.expected("DICOM/P1000001/S0000001/I0000001")
    assert expected is not None
    values = {**expected.values, PIXELS: levels.tobytes()}
    assert templates.of(expected.place).render(values) == file_bytes(image_of(levels, 1_000_001, given))


def test_a_label_that_highdicom_has_no_code_for_is_the_slow_paths_byte_for_byte() -> None:
    given = small_settings(1, classes=("a word of nobody", "normal"), reports=True)
    check_same(given, random_samples(given), 0)


# --- what a release must hold -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        small_settings(5),
        small_settings(5, images_per_patient=2, reports=True),
        small_settings(23, images_per_patient=11, one_file_per_segment=True, reports=True),
        small_settings(2, segments=()),
    ],
    ids=["plain", "two a patient", "one file a segment", "no masks"],
)
def test_paths_come_in_byte_order_and_name_their_places(given: ArchiveSettings) -> None:
    templates = release_templates(given)
    paths = list(templates.paths())
    assert paths == sorted(paths, key=str.encode)
    assert len(paths) == len(set(paths)) == given.images * (1 + given.mask_files + given.reports)
    for path in paths:
        place = place_at(path, given)
        assert place is not None
        assert path_of(place, given) == path
        assert place == place_of(place.number, given, place.kind, place.part)


@pytest.mark.parametrize(
    "path",
    [
        "labels.csv",
        "DICOM/P000000/S0000001/I0000001",
        "DICOM/P000004/S0000001/I0000001",
        "DICOM/P0000001/S0000001/I0000001",
        "DICOM/P000001/S0000002/I0000001",
        "DICOM/P000001/S0000001/I0000002",
        "DICOM/P000001/S0000001/M0100001",
        "DICOM/P000001/S0000001/R0000001",
        "DICOM/P00000１/S0000001/I0000001",
        "DICOM/P000001/S0000001/I0000001\n",
        "x/DICOM/P000001/S0000001/I0000001",
    ],
)
def test_a_path_that_the_archive_does_not_have_is_no_file_of_it(path: str) -> None:
    assert release_templates(small_settings(3)).expected(path) is None


def test_a_file_is_one_of_its_templates_with_the_values_of_its_place() -> None:
    given = small_settings(4, images_per_patient=2, reports=True, classes=("normal", "nodule"))
    templates: ReleaseTemplates = pickle.loads(pickle.dumps(release_templates(given)))
    for index in range(4):
        for place, content in fast(given, random_samples(given), index).items():
            expected = templates.expected(path_of(place, given))
            assert expected is not None
            fitting = [form for form in expected.templates if not form.problems(content)]
            assert len(fitting) == 1
            found = fitting[0].values(content)
            pixels = found.pop(PIXELS, b"")
            assert found == {name: expected.values[name] for name in found}
            assert len(found) >= 7
            if place.kind is not FileKind.REPORT:
                assert not strays(place.kind, pixels, given)
    assert len(list(templates.templates())) == 1 + 2 + 2


def test_no_two_files_of_a_release_share_a_value_that_must_be_unique() -> None:
    given = small_settings(6, images_per_patient=3, one_file_per_segment=True, reports=True)
    seen = []
    for index in range(6):
        for content in fast(given, random_samples(given), index).values():
            seen.append(pydicom.dcmread(BytesIO(content), stop_before_pixels=True))
    assert len({str(each.SOPInstanceUID) for each in seen}) == len(seen)
    assert len({str(each.SeriesInstanceUID) for each in seen}) == len(seen)
    assert len({str(each.StudyInstanceUID) for each in seen}) == 2
    for study in {str(each.StudyInstanceUID) for each in seen}:
        numbers = [int(each.SeriesNumber) for each in seen if each.StudyInstanceUID == study]
        assert sorted(numbers) == list(range(1, 13))


# --- what does not belong -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image() -> tuple[Template, bytes]:
    given = small_settings(1)
    place, content = next(iter(fast(given, random_samples(given), 0).items()))
    return release_templates(given).of(place), content


def test_any_byte_outside_the_slots_is_noticed(image: tuple[Template, bytes]) -> None:
    template, content = image
    inside = {at for slot in template.slots for at in range(slot.start, slot.end)}
    outside = [at for at in range(len(content)) if at not in inside]
    for at in outside[::7]:
        changed = bytearray(content)
        changed[at] ^= 0x20
        assert template.problems(bytes(changed)), at
    assert template.problems(content) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"\0" * 128, b"SMITH^JOHN".ljust(128, b"\0"), "preamble"),
        (b"SYNTHRELEASE unit test 1", b"SAINT MARY HOSPITAL OSLO", "IssuerOfPatientID"),
        (b"20010203", b"19991231", "StudyDate"),
        (b"Not acquired from a patient", b"Acquired from Smith, John..", "ImageComments"),
    ],
)
def test_a_foreign_value_is_named_by_its_element(
    image: tuple[Template, bytes], old: bytes, new: bytes, told: str
) -> None:
    template, content = image
    assert told in template.problems(content.replace(old, new))


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 300])
def test_another_length_is_noticed(image: tuple[Template, bytes], extra: bytes) -> None:
    template, content = image
    assert template.problems(content + extra) == ["length"]
    assert template.problems(content[: -len(extra)]) == ["length"]


def test_a_value_that_differs_between_its_two_places_is_noticed(image: tuple[Template, bytes]) -> None:
    template, content = image
    mine, other = (patient_id(number, small_settings(1)).encode() for number in (1, 2))
    assert content.count(mine) == 2
    assert template.problems(content.replace(mine, other, 1)) == ["patient id in two places"]


FILES: Mapping[str, tuple[dict[str, Any], FileKind]] = {
    "image": ({}, FileKind.IMAGE),
    "binary": ({"segments": ("lung",), "rows": 9, "columns": 9}, FileKind.MASK),
    "labelmap": ({"mask_kind": MaskKind.LABELMAP, "rows": 9, "columns": 9}, FileKind.MASK),
    "rle": ({"mask_kind": MaskKind.LABELMAP, "mask_compression": Compression.RLE}, FileKind.MASK),
    "jpeg-ls": ({"mask_kind": MaskKind.LABELMAP, "mask_compression": Compression.JPEG_LS}, FileKind.MASK),
    "jpeg-2000": ({"mask_compression": Compression.JPEG_2000, "rows": 32, "columns": 32}, FileKind.MASK),
}


@pytest.mark.parametrize("name", FILES)
def test_a_message_in_unused_bits_of_the_pixels_is_noticed(name: str) -> None:
    wanted, kind = FILES[name]
    given = small_settings(1, **wanted)
    place, content = next((p, c) for p, c in fast(given, random_samples(given), 0).items() if p.kind is kind)
    template = next(form for form in release_templates(given).templates() if not form.problems(content))
    pixels = bytearray(template.values(content)[PIXELS])
    assert not strays(place.kind, bytes(pixels), given)
    packed = given.mask_compression is not Compression.NONE
    pixels[-40 if packed else -1] ^= 0xF0
    assert strays(place.kind, bytes(pixels), given)
    if packed:
        assert strays(place.kind, bytes(pixels[:-8]) + b"SMITH^JOHN" + bytes(pixels[-8:]), given)


# --- the engine itself --------------------------------------------------------------------------------------------


def test_two_files_that_differ_in_more_than_their_values_make_no_template() -> None:
    values = ({"name": b"ANNA"}, {"name": b"BERT"})
    assert template_between(b"<ANNA>", b"<BERT>", values).slots == (Slot("name", 1, 4),)
    with pytest.raises(IntegrityError, match="differ in more"):
        template_between(b"<ANNA>12:00", b"<BERT>12:01", values)
    with pytest.raises(IntegrityError, match="differ in more"):
        template_between(b"<ANNA>", b"<BERT> ", values)
    with pytest.raises(IntegrityError, match="differ in more"):
        template_between(b"<ANNA>", b"<BERTA>", ({"name": b"ANNA"}, {"name": b"BERTA"}))


def test_a_short_value_is_not_mistaken_for_a_part_of_a_long_one() -> None:
    values = ({"long": b"1111", "short": b"11"}, {"long": b"2222", "short": b"22"})
    made = template_between(b"1111-11-11", b"2222-22-11", values)
    assert made.slots == (Slot("long", 0, 4), Slot("short", 5, 2))
    assert made.render({"long": b"abcd", "short": b"ef"}) == b"abcd-ef-11"


def test_a_value_of_another_length_is_refused() -> None:
    made = template_between(b"<ANNA>", b"<BERT>", ({"name": b"ANNA"}, {"name": b"BERT"}))
    with pytest.raises(ValueError, match="name has 5 bytes where 4 belong"):
        made.render({"name": b"CLARA"})
    with pytest.raises(KeyError):
        made.render({})


def test_a_tail_may_have_any_length() -> None:
    values = ({"name": b"ANNA", PIXELS: b"123"}, {"name": b"BERT", PIXELS: b"4567"})
    made = template_between(b"<ANNA>123", b"<BERT>4567", values, tail=PIXELS)
    assert made.render({"name": b"CORA", PIXELS: b""}) == b"<CORA>"
    assert made.values(b"<CORA>89") == {"name": b"CORA", PIXELS: b"89"}
    assert made.problems(b"<CORA>89") == []
    assert made.problems(b"<CORA") == ["length"]


def test_another_version_of_the_writer_is_not_written_from_a_wrong_template(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow path that reads the clock, as highdicom does when it is not pinned, is refused before anything is written."""
    clock = itertools.count(100000)
    from synthrelease.dicom.release import templates

    def ticking(*given: Any) -> Any:
        image = image_of(*given)
        image.ContentTime = str(next(clock))
        return image

    monkeypatch.setattr(templates, "image_of", ticking)
    with pytest.raises(IntegrityError, match="differ in more"):
        release_templates(replace(small_settings(1), edition="another"))
