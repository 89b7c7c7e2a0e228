"""The rules of the archive settings, and the one way from a policy to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.settings import ArchiveSettings, release_settings
from synthrelease.errors import UsageError
from synthrelease.policy.loader import load_policy, policy_from, resolved
from synthrelease.policy.schema import Policy
from tests.unit.archive.conftest import BASE

GOOD = BASE | {"segments": ("lung", "nodule")}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("release_name", ""),
        ("release_name", "a\\b"),
        ("release_name", "x" * 51),
        ("release_name", "ends "),
        ("segments", ("lung", "lung")),
        ("segments", ("a\\b",)),
        ("segments", ("x" * 65,)),
        ("classes", ()),
        ("classes", ("a", "a")),
        ("spacing_mm", (0.0, 1.0)),
        ("spacing_mm", (float("nan"), 1.0)),
        ("study_date", "2020-01-01"),
        ("study_date", "20201301"),
        ("study_time", "250000"),
        ("body_part", "chest"),
        ("body_part", "NOSUCHPART"),
        ("software", ""),
        ("software_version", "1\\2"),
        ("images", 0),
        ("images", 10_000_000),
        ("images_per_patient", 0),
        ("images_per_patient", 100),
        ("rows", 7),
        ("columns", 65536),
        ("bits", 8),
        ("value_range", (-1000.0, 400.0)),  # of CT alone
        ("modality", "US"),  # of SC alone
        ("image_class", ImageClass.MG),  # of a chest
        ("mask_compression", Compression.RLE),  # binary masks are bits
        ("mask_compression", Compression.JPEG_2000),  # below 32 pixels a side
    ],
)
def test_settings_that_cannot_be_written_are_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError):
        ArchiveSettings(**(GOOD | {key: value}))


def test_all_broken_settings_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"release\.name.*study time.*no class"):
        ArchiveSettings(**(GOOD | {"release_name": "", "classes": (), "study_time": "x"}))


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"mask_compression": Compression.RLE}, "archive.masks.compression: binary masks cannot be compressed by rle"),
        ({"body_part": "CHST"}, "cohort.body_part: .*CHEST"),
        ({"images_per_patient": 100}, "archive.images_per_patient: 100 is not 1 to 99"),
        ({"segments": ("a\\b",)}, "cohort.segments: "),
        ({"bits": 8}, "archive.bits: "),
    ],
)
def test_a_refusal_names_the_policys_key(given: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=key):
        ArchiveSettings(**(GOOD | given))


def test_patients_and_widths_follow_from_the_number_of_images() -> None:
    assert ArchiveSettings(**(GOOD | {"images": 7, "images_per_patient": 3})).patients == 3
    assert ArchiveSettings(**(GOOD | {"images": 999_999})).digits == 6
    assert ArchiveSettings(**(GOOD | {"images": 1_000_000})).digits == 7
    assert ArchiveSettings(**(GOOD | {"images": 1_000_000, "images_per_patient": 2})).digits == 6


def policy(cohort: dict[str, Any] | None = None, archive: dict[str, Any] | None = None) -> Policy:
    kept = resolved(load_policy(Path("policies/dp_eps8.yaml")))
    kept["cohort"].update(cohort or {})
    kept["archive"].update(archive or {})
    return policy_from(kept)


@pytest.mark.parametrize(
    ("modality", "image_class"),
    [("DX", "DX"), ("CR", "DX"), ("CT", "CT"), ("MR", "MR"), ("MG", "MG"), ("US", "SC"), ("OT", "SC")],
)
def test_the_image_class_follows_the_cohorts_modality_unless_it_is_named(modality: str, image_class: str) -> None:
    body_part = {"MG": "BREAST"}.get(modality, "CHEST")
    cohort = {"modality": modality, "body_part": body_part}
    made = release_settings(policy(cohort), edition="e", software_version="1")
    assert made.image_class == image_class
    assert made.modality == ("US" if modality == "US" else "")
    named = release_settings(policy(cohort, {"image_class": "DX"}), edition="e", software_version="1")
    assert named.image_class is ImageClass.DX


def test_hounsfield_units_are_told_only_when_the_policy_fixes_the_window() -> None:
    fixed = {"window": {"mode": "fixed", "low": -1000.0, "high": 400.0}}
    ct = policy({"modality": "CT", **fixed})
    assert release_settings(ct, edition="e", software_version="1").value_range == (-1000.0, 400.0)
    assert release_settings(policy({"modality": "CT"}), edition="e", software_version="1").value_range is None
    assert release_settings(policy(fixed), edition="e", software_version="1").value_range is None


def test_every_wish_of_the_policy_arrives() -> None:
    wanted = {
        "images": 40,
        "images_per_patient": 4,
        "bits": 16,
        "reports": True,
        "license": "CC-BY-4.0",
        "masks": {"kind": "labelmap", "compression": "rle", "one_file_per_segment": True},
    }
    made = release_settings(policy({}, wanted), edition="abc", software_version="1.2")
    assert (made.images, made.images_per_patient, made.bits, made.reports) == (40, 4, 16, True)
    assert (made.mask_kind, made.mask_compression) == (MaskKind.LABELMAP, Compression.RLE)
    assert (made.one_file_per_segment, made.license) == (True, "CC-BY-4.0")
    assert (made.edition, made.software_version) == ("abc", "1.2")
    assert made.rows == made.columns == policy().cohort.resolution
