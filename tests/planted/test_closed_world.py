"""Two independent gates on an archive of our own: what the policy makes, and what real headers hold.

Each kind of leak says which gate finds it, and both answers are checked. The hospital is built to raise false alarms.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import struct
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from benchmarks.header_scan import folders as invented
from synthrelease.audit.checks.closed_world import ClosedWorld
from synthrelease.audit.checks.header_leak import HeaderLeak, Scan, files_below
from synthrelease.audit.closed_world import file_problems
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.gate import judge
from synthrelease.audit.headers.layout import layout
from synthrelease.audit.headers.material import said_in
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.dicom.release.templates import release_templates
from synthrelease.dicom.template import PIXELS
from synthrelease.records.findings import Verdict
from synthrelease.records.manifest import MANIFEST, folder_manifest, manifest_bytes

IMAGE, MASK, REPORT = (f"DICOM/P000002/S0000001/{letter}0000001" for letter in "IMR")
BOTH, WORLD, SCAN = {"closed_world", "header_leak"}, {"closed_world"}, {"header_leak"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hospital, our archive, what the archive must be, and a scan that knows the hospital."""
    home = tmp_path_factory.mktemp("gates")
    invented.write_hospital(home / "real", 90)
    expectation = invented.write_ours(home / "ours", invented.settings(8, side=32, reports=True))
    scan = Scan(expectation)
    scan.learn(home / "real")
    return home, expectation, scan


@pytest.fixture
def archive(made, tmp_path):
    """A copy of the archive to plant in."""
    return Path(shutil.copytree(made[0] / "ours", tmp_path / "ours"))


def closed(clean, archive: Path, expectation: Expectation):
    case = replace(clean, synthetic_folder=archive, expectation=expectation)
    return ClosedWorld().measure(case, np.random.default_rng(0))


def finders(clean, archive: Path, expectation: Expectation, scan: Scan) -> set[str]:
    """Which gates find something."""
    files = files_below(archive)
    found = scan.judge(files, (said_in(path, archive, expectation) for path in files))
    gates = {"header_leak"} if found.leaking else set()
    return gates | ({"closed_world"} if closed(clean, archive, expectation).statistic.value else set())


def relist(archive: Path) -> None:
    """The manifest of the folder as it is now: a leak whose digests are all in order."""
    entries = list(folder_manifest(archive, leave_out=frozenset([MANIFEST])))
    (archive / MANIFEST).write_bytes(manifest_bytes(entries))


def edited(path: Path, change) -> None:
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def comment(text: str):
    return lambda archive: edited(archive / IMAGE, lambda d: setattr(d, "ImageComments", text))


def attribute(keyword: str, value, name: str = IMAGE):
    return lambda archive: edited(archive / name, lambda d: setattr(d, keyword, value))


def element(tag: int, vr: str, value, name: str = IMAGE):
    return lambda archive: edited(archive / name, lambda d: d.add_new(tag, vr, value))


def changed(change, name: str = IMAGE):
    """Change the bytes of one file."""

    def plant(archive: Path) -> None:
        path = archive / name
        path.write_bytes(change(path.read_bytes()))

    return plant


def in_pixels(text: bytes, step: int):
    """A character every ``step`` bytes of the pixels."""

    def change(content: bytes) -> bytes:
        found = layout(content)
        start = found.pixels[0][0]
        pixels = bytearray(content)
        pixels[start : start + step * len(text) : step] = text
        return bytes(pixels)

    return change


def meta(keyword: str, value):
    return lambda archive: edited(archive / IMAGE, lambda d: setattr(d.file_meta, keyword, value))


def private_creator(archive: Path) -> None:
    edited(
        archive / IMAGE,
        lambda d: (d.add_new(0x00910010, "LO", "SOMEBODY"), d.add_new(0x00911001, "LO", "cohort-zebrafinch")),
    )


def reference(uid: str):
    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        dataset.SourceImageSequence = [item]

    return lambda archive: edited(archive / IMAGE, change)


def japanese(archive: Path) -> None:
    """A name in another character set than the file's own, as raw bytes of an element that no table knows."""
    edited(archive / IMAGE, lambda d: d.add_new(0x00180002, "UN", "山田".encode("iso2022_jp")))


def other_uid(content: bytes) -> bytes:
    """A well-formed UID of our root that holds a number of somebody's choice, in all its places."""
    uid = str(dcmread(BytesIO(content)).SOPInstanceUID).encode()
    return content.replace(uid, uid[:-9] + b"440120512")


def reserved_bytes(content: bytes) -> bytes:
    """The two reserved bytes of a long element head (PS3.5, table 7.1-1) as a hiding place."""
    at = content.index(b"OW\0\0")
    return content[: at + 2] + struct.pack("<H", 4401) + content[at + 4 :]


def upper_bits(content: bytes) -> bytes:
    start = layout(content).pixels[0][0]
    pixels = bytearray(content)
    pixels[start + 1] |= 0xA0
    return bytes(pixels)


def renamed(name: str):
    return lambda archive: (archive / IMAGE).rename(archive / Path(IMAGE).with_name(name))


def swapped(archive: Path) -> None:
    one, other = archive / IMAGE, archive / IMAGE.replace("P000002", "P000003")
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def other_class(archive: Path) -> None:
    """A report that states another class than the policy drew."""
    path = archive / REPORT
    content = path.read_bytes()
    stated, other = (b"effusion", b"normalcy") if b"effusion" in content else (b"normal", b"effusi")
    path.write_bytes(content.replace(stated, other))


REAL_UID = "1.3.6.1.4.1.99999.7.20240131.3.10006.45"
LEAKS = {
    "patient id in a comment": (comment("copy of MRN4401205, see notes"), BOTH),
    "patient id inside a word": (comment("XMRN4401205Y"), BOTH),
    "patient number padded": (attribute("StudyID", "0004401205"), BOTH),
    "short patient number in its own place": (attribute("PatientID", "7"), BOTH),
    "patient id where the template has none": (attribute("AccessionNumber", "SYN-000002"), BOTH),
    "surname in other case": (comment("see aBERNATHY"), BOTH),
    "surname that is a word of the template": (attribute("PatientName", "Chest^X"), BOTH),
    "short name of an everyday word": (attribute("OperatorsName", "May^Ann"), BOTH),
    "name turned round": (comment("Ann Castellanos"), BOTH),
    "name in one word": (comment("AnnCastellanos"), BOTH),
    "name without umlaut": (comment("Mueller"), BOTH),
    "name backwards": (comment("yhtanrebA"), BOTH),
    "name in another character set": (japanese, BOTH),
    "name in base64": (comment(base64.b64encode("Włodarczyk^Ann".encode()).decode()), BOTH),
    "id in hexadecimal": (comment(b"MRN4401205".hex()), BOTH),
    "id hashed without salt": (attribute("PatientID", hashlib.sha256(b"MRN4401205").hexdigest()[:16]), BOTH),
    "birth date with dots": (comment("born 04.04.1933"), BOTH),
    "study date that is the release's own": (attribute("PatientBirthDate", invented.RELEASE_DATE), BOTH),
    "study date in words": (comment("4 April 2013"), BOTH),
    "uid in a reference": (reference(REAL_UID), BOTH),
    "uid hashed by pydicom": (reference(generate_uid(entropy_srcs=[REAL_UID])), BOTH),
    "uid hashed into a uuid": (
        attribute("StudyInstanceUID", f"2.25.{int.from_bytes(hashlib.sha256(REAL_UID.encode()).digest()[:16])}"),
        BOTH,
    ),
    "uid of the source's root": (attribute("FrameOfReferenceUID", "1.3.6.1.4.1.99999.7.20240131.3.10006.9"), BOTH),
    "private tag": (private_creator, BOTH),
    "preamble": (changed(lambda c: b"okonkwo".ljust(128, b"\0") + c[128:]), BOTH),
    "overlay": (element(0x60020022, "LO", "nobody's value"), BOTH),
    "overlay picture": (element(0x60023000, "OW", b"\1\2\3\4"), BOTH),
    "curve": (element(0x50003000, "OW", b"\1\2\3\4"), BOTH),
    "title of the sending station": (meta("SourceApplicationEntityTitle", "DR1"), BOTH),
    "institution in a place that stays": (attribute("ManufacturerModelName", "Port Ellery"), BOTH),
    "text behind the data": (changed(lambda c: c + b"\0\0RX88123004\0"), BOTH),
    "wide text behind the data": (changed(lambda c: c + "Abernathy".encode("utf-16-le")), BOTH),
    "bytes behind the data that say nothing": (changed(lambda c: c + b"\x17\x99\x02\x40", MASK), BOTH),
    "value in a report": (attribute("InstitutionName", "General", REPORT), BOTH),
    "value in a mask file": (attribute("ContentCreatorName", "Doe^Jane", MASK), BOTH),
    "file named after an accession number": (renamed("RX88123004"), BOTH),
    "table beside the archive": (lambda a: (a / "notes.csv").write_text(f"uid\n{REAL_UID}\n"), BOTH),
    "name in the readme": (changed(lambda c: c + b"Thanks to Castellanos, Ann.\n", "README.md"), BOTH),
    "date in labels.csv": (changed(lambda c: c.replace(b"\n", b",2013-04-04\n", 3), "labels.csv"), BOTH),
    "plain text in the pixels": (changed(in_pixels(b"MRN4401205", 1), MASK), SCAN),
    "a letter a pixel": (changed(in_pixels(b"MRN4401205", 2)), SCAN),
    "number in a uid of our own root": (changed(other_uid), BOTH),
    "reserved bytes of an element's head": (changed(reserved_bytes), WORLD),
    "upper bits of a pixel": (changed(upper_bits), WORLD),
    "two files changed places": (swapped, BOTH),
    "other class in a report": (other_class, WORLD),
    "file left out": (lambda a: (a / MASK).unlink(), WORLD),
    "empty folder with a name": (lambda a: (a / "Abernathy").mkdir(), WORLD),
    "link": (lambda a: (a / "link").symlink_to(os.devnull), WORLD),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_every_kind_of_leak_is_found_by_the_gates_that_it_names(clean, made, archive, leak):
    plant, expected = LEAKS[leak]
    plant(archive)
    if leak not in {"link", "empty folder with a name"}:
        relist(archive)
    assert finders(clean, archive, made[1], made[2]) == expected


def test_the_clean_archive_passes_both_gates_and_both_find_all_their_plants(clean, made):
    home, expectation, _ = made
    case = replace(clean, real_folder=home / "real", synthetic_folder=home / "ours", expectation=expectation)
    measured = {check: check.measure(case, np.random.default_rng(0)) for check in (ClosedWorld(), HeaderLeak())}
    for found in measured.values():
        assert (found.statistic.value, found.controls_missed) == (0, ()), found.details
        assert set(found.power.planted.values()) == {1.0}
    judged = judge(measured, load_profile("standard", check_ids()))
    assert {j.verdict for j in judged.values()} == {Verdict.PASS}
    assert all(j.required for j in judged.values())


def test_a_thousand_clean_files_raise_no_alarm_whatever_the_hospital_is_called(clean, tmp_path):
    invented.write_hospital(tmp_path / "real", 400)
    expectation = invented.write_ours(tmp_path / "ours", invented.settings(500, side=16))
    case = replace(clean, real_folder=tmp_path / "real", synthetic_folder=tmp_path / "ours", expectation=expectation)
    for check in (ClosedWorld(), HeaderLeak()):
        found = check.measure(case, np.random.default_rng(0))
        assert found.n["outgoing_files"] == 1004
        assert found.statistic.value == 0, found.details


def test_changed_texts_and_a_stale_manifest_are_told_without_a_value(clean, made, archive):
    with (archive / "labels.csv").open("a") as stream:
        stream.write("Abernathy\n")
    found = closed(clean, archive, made[1])
    assert found.details["problems"] == {
        "labels.csv: other content than the policy gives": 1,
        "manifest that does not list the files as they are": 1,
    }
    assert "bernathy" not in json.dumps([found.details, found.note, asdict(found.statistic)])


def test_a_byte_in_every_place_outside_pixels_is_seen(made):
    """No byte of a file is anybody's: each one that is changed is a problem."""
    home, expectation, _ = made
    for name in (IMAGE, MASK, REPORT):
        content = (home / "ours" / name).read_bytes()
        template = expectation.release.expected(name).templates[0]
        end = next((slot.start for slot in template.slots if slot.name == PIXELS), len(content))
        for place in range(0, end, 7):
            other = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            assert file_problems(other, name, expectation), place


def test_an_archive_of_another_tool_is_not_applicable_and_does_not_count(clean, made):
    found = ClosedWorld().measure(replace(clean, synthetic_folder=made[0] / "ours"), np.random.default_rng(0))
    judgement = judge({ClosedWorld(): found}, load_profile("standard", check_ids()))["closed_world"]
    assert found.not_applicable
    assert (judgement.verdict, judgement.required) == (Verdict.INCONCLUSIVE, False)


@pytest.mark.parametrize("said", [{"license": "Ask Abernathy"}, {"release_name": "MRN4401205 scans"}])
def test_a_policy_that_says_a_private_value_must_be_reworded_and_no_attribute_is_named(clean, tmp_path, said):
    invented.write_hospital(tmp_path / "real", 90)
    wanted = replace(invented.settings(2, side=16), **said)
    expectation = invented.write_ours(tmp_path / "ours", wanted)
    case = replace(clean, real_folder=tmp_path / "real", synthetic_folder=tmp_path / "ours", expectation=expectation)
    found = HeaderLeak().measure(case, np.random.default_rng(0))
    judgement = judge({HeaderLeak(): found}, load_profile("standard", check_ids()))["header_leak"]
    assert (judgement.verdict, judgement.required) == (Verdict.INCONCLUSIVE, True)
    assert "reword the policy" in judgement.reason
    assert found.details["also_said_by_the_policy"]
    assert not any(name in judgement.reason for name in found.details["also_said_by_the_policy"])


def test_an_archive_of_another_release_fails_throughout(clean, made):
    settings = replace(made[1].release.settings, edition="another generator")
    other = replace(made[1], release=release_templates(settings))
    found = closed(clean, made[0] / "ours", other)
    assert found.statistic.value >= 24
    assert any("of another file" in problem for problem in found.details["problems"])
