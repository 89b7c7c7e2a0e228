"""The parts of the header scan: the table, the layout of a file, forms of values, and keyed fingerprints."""

from __future__ import annotations

import base64
import hashlib
import itertools
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, examples
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from synthrelease.audit.headers import annex_e
from synthrelease.audit.headers.evidence import Value, of_date, of_identifier, of_name, of_uid, value_of, weakened
from synthrelease.audit.headers.fingerprints import Fingerprints, Vocabulary
from synthrelease.audit.headers.layout import layout
from synthrelease.audit.headers.material import said
from synthrelease.audit.headers.tokens import dates, fold, joined, numbers, tokens


def test_the_table_is_the_standards_with_its_actions() -> None:
    assert len(annex_e.rows()) + 1 == 621
    assert {action.split("/")[0] for action in annex_e.rows().values()} == {"X", "D", "U", "Z"}
    assert annex_e.action(0x00100010) == "Z"
    assert annex_e.action(0x0020000D) == "U"
    assert annex_e.action(0x50123456) == "X"
    assert annex_e.action(0x60100010) is None  # rows of an overlay: the picture itself and its comment are the table's
    assert annex_e.action(0x00280010) is None


def small(syntax: str) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.PatientName = "Doe^Jane"
    item = Dataset()
    item.PatientID = "MRN4401205"
    dataset.OtherPatientIDsSequence = [item]
    dataset.add_new(0x00091001, "UN", b"private")
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = 16
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(32)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_byte_of_a_file_is_in_one_element_or_among_the_pixels(syntax: str) -> None:
    found = layout(small(syntax))
    assert found is not None
    ranges = sorted([(s.start, s.end) for s in found.spans] + found.pixels)
    assert ranges[0][0] == 132
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    assert ranges[-1][1] == found.rest == len(found.content)
    said_there = said(small(syntax), "x", None).tokens
    assert {"w:doe", "n:4401205", "w:private"} <= said_there


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "rtplan.dcm", "reportsi.dcm", "MR_small_bigendian.dcm"]
)
def test_files_of_others_are_walked_to_their_end(name: str) -> None:
    path = get_testdata_file(name)
    with open(path, "rb") as stream:
        found = layout(stream.read())
    assert found is not None
    assert found.rest == len(found.content)


def test_nothing_that_is_cut_or_broken_raises() -> None:
    rng = np.random.default_rng(0)
    whole = small(ExplicitVRLittleEndian)
    for _ in range(300):
        broken = bytearray(whole[: int(rng.integers(len(whole)))])
        for place in rng.integers(0, max(1, len(broken)), 6):
            if broken:
                broken[place] = int(rng.integers(256))
        said(bytes(broken), "x", None)
    deflated = small(DeflatedExplicitVRLittleEndian)
    said(deflated[:-9], "x", None)
    assert layout(b"no image") is None


def test_a_file_without_preamble_is_still_one() -> None:
    found = layout(small(ExplicitVRLittleEndian)[132:])
    assert found is not None
    assert found.spans[0].start == 0


def test_texts_are_folded_alike_on_both_sides() -> None:
    assert fold("WŁODARCZYK") == fold("włodarczyk") == "wlodarczyk"
    assert joined("Doe^John ") == "doejohn"
    assert "c:山田" in tokens("見よ山田太郎様")
    assert "f:doe john" in tokens("John DOE")
    assert "w:doe" in tokens("DoeJohn") or "w:doe" in tokens("JohnDoe")


@pytest.mark.parametrize(
    "text",
    [
        *("20190413", "20190413101500", "2019-04-13", "13.04.2019", "13/4/19", "04/13/2019"),
        *("13 April 2019", "Apr. 13, 2019", "1555113600", "1555113600000"),
    ],
)
def test_a_date_is_a_date_however_written(text: str) -> None:
    assert "d:20190413" in dates(f"on {text} there")


def test_numbers_lose_zeros_and_separators_and_short_ones_do_not_count() -> None:
    assert numbers("0004401205") == {"n:4401205"}
    assert "n:4401205" in numbers("440-12-05")
    assert numbers("17 and 4711 and 00042") == set()


def test_encodings_are_taken_off() -> None:
    value = "Abernathy^Ann"
    for written in (
        base64.b64encode(value.encode()).decode(),
        base64.b32encode(value.encode()).decode(),
        value.encode().hex(),
        "Abernathy%5EAnn",
        base64.b64encode(value.encode().hex().encode()).decode(),
        "\\u0041bernathy",
        "&#65;bernathy",
    ):
        assert "w:abernathy" in tokens(written), written


def strong(forms) -> set[str]:
    return {form.token for form in forms if form.strong}


def test_ordinary_words_and_short_numbers_are_weak_evidence() -> None:
    assert "w:may" not in strong(of_name("May^Rose"))
    assert "v:may rose" in strong(of_name("May^Rose"))
    assert "w:abernathy" in strong(of_name("Abernathy^Ann"))
    assert strong(of_identifier("17")) == set()
    assert {"n:4401205", "r:mrn4401205"} <= strong(of_identifier("MRN4401205"))
    assert "v:000123" not in strong(of_identifier("000123"))
    assert not any(form.token == "v:general" for form in of_identifier("General") if form.strong)
    assert "d:20190413" in strong(of_date("20190413"))
    assert "d:19600101" not in strong(of_date("19600101"))


def test_digests_that_anybody_can_make_are_known() -> None:
    uid = "1.2.826.0.1.99.123456.7890"
    forms = strong(of_uid(uid))
    assert tokens(str(generate_uid(entropy_srcs=[uid]))) & forms
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, uid.encode()).digest()
        assert tokens(f"2.25.{int.from_bytes(digest[:16])}") & forms
    hashed = hashlib.sha1(b"MRN4401205").hexdigest()
    assert tokens(f"anon-{hashed[:12]}") & strong(of_identifier("MRN4401205"))


def test_attributes_outside_the_table_identify_nobody() -> None:
    assert value_of("ManufacturerModelName", "LO", 0x00081090, "Ellery 7", False) is None
    assert value_of("SOPClassUID", "UI", 0x00080016, "1.2.840.10008.5.1.4.1.1.7", False) is None
    assert value_of("PatientSex", "CS", 0x00100040, "F", False) is None
    inside = value_of("CodeMeaning", "LO", 0x00080104, "Port Ellery Chest Hospital", True)
    assert inside is not None
    assert inside.kind == "prose"
    assert weakened(inside).forms == {form._replace(strong=False) for form in inside.forms}


def values(*texts: str) -> list[Value]:
    return [Value("PatientID", "identifier", text, frozenset(of_identifier(text))) for text in texts]


def test_fingerprints_find_values_inside_words_and_keep_none_of_them() -> None:
    prints = Fingerprints(Vocabulary(), exact=False)
    for value in values("MRN4401205", "AB-77-QX12345"):
        prints.add(value)
    assert prints.hits(tokens("mrn4401205")) != {}
    assert prints.hits((), [("xxxab77qx12345yyy", 6)]) == {"r:ab77qx12345": "PatientID"}
    assert prints.hits((), [("5021044nrm", 6)]) != {}
    assert prints.hits((), [("xxxab77qx12345yyy", 20)]) == {}
    assert prints.hits(tokens("harmless text 123456789"), [("harmlesstext", 6)]) == {}
    kept = [v for v in vars(prints).values() if isinstance(v, (bytes, np.ndarray, dict))]
    assert b"MRN4401205" not in b"".join(v.tobytes() if isinstance(v, np.ndarray) else b"" for v in kept)


def test_what_the_template_says_proves_nothing_unless_the_template_is_taken_off() -> None:
    said_by_template = Vocabulary(frozenset({"v:abernathy 77", "w:abernathy"}), "abernathy77")
    for exact in (False, True):
        prints = Fingerprints(said_by_template, exact=exact)
        for value in values("Abernathy 77"):
            prints.add(value)
        assert bool(prints.hits(["w:abernathy"])) is exact
        assert prints.shared == {"PatientID"}


def test_fingerprints_stay_right_when_many_are_sorted_in() -> None:
    prints = Fingerprints(Vocabulary(), exact=False)
    for number in range(3000):
        prints.add(values(f"MRN{5_000_000 + number}")[0])
        if number % 1000 == 0:
            assert len(prints) > number
    assert all(prints.hits([f"n:{5_000_000 + number}"]) for number in range(0, 3000, 97))
    assert not prints.hits(["n:6000000"])


def test_a_real_picture_says_its_own_values() -> None:
    path = get_testdata_file("CT_small.dcm")
    dataset = dcmread(path)
    with open(path, "rb") as stream:
        found = said(stream.read(), "a.dcm", None)
    assert found.is_dicom
    assert f"u:{dataset.SOPInstanceUID}" in found.tokens
    assert examples.ct.PatientID
