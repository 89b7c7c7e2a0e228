"""What all files of one archive share: public values only, from the policy and the digest of the generator."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from synthrelease.dicom.image import ImageClass, SyntheticMarking
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.notes import Note
from synthrelease.dicom.release.rules import broken_rules
from synthrelease.dicom.segments import require_absent_findings
from synthrelease.errors import UsageError

if TYPE_CHECKING:  # a writing process needs the settings, not what reads policies
    from synthrelease.policy.schema import CohortSettings, Policy


@dataclass(frozen=True)
class ArchiveSettings:
    """What all files of one archive share.

    Attributes:
        release_name: Letters, digits, space, ``.``, ``_`` and ``-``; at most 50 characters. Enters every UID.
        segments: Names of the mask channels, in order; empty for an archive without masks.
        classes: Names of the labels, in order.
        spacing_mm: Distance between pixel centres (between rows, between columns).
        software_version: Version of the software that made the images.
        study_date: YYYYMMDD, the release's date; the clock is never read.
        study_time: HHMMSS.
        body_part: Body Part Examined (PS3.16, annex L), e.g. CHEST.
        software: Name of the software that made the images.
        edition: Tells apart archives of one release name, e.g. a generator's digest. Enters every UID.
        images: How many the archive holds.
        images_per_patient: How many of them are filed under one patient; the last patient may have fewer.
        rows: Image height, pixels.
        columns: Image width, pixels.
        image_class: What an image is written as.
        bits: Bits stored a pixel.
        value_range: Of CT: the Hounsfield units of the smallest and the largest stored value; None: nobody knows.
        modality: Of a secondary capture: what it looks like; "" writes OT.
        mask_kind: BINARY or LABELMAP.
        mask_compression: Of the mask files' pixels.
        one_file_per_segment: A mask file for each segment instead of one for all.
        reports: Whether a structured report goes with every image.
        license: Terms named in the archive's metadata.
        notes: Numbers told of each image, in the order of their columns in labels.csv.
    """

    release_name: str
    segments: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float]
    software_version: str
    study_date: str
    study_time: str = "000000"
    body_part: str = "CHEST"
    software: str = "synthrelease"
    edition: str = ""
    images: int = 1
    images_per_patient: int = 1
    rows: int = 128
    columns: int = 128
    image_class: ImageClass = ImageClass.DX
    bits: int = 12
    value_range: tuple[float, float] | None = None
    modality: str = ""
    mask_kind: MaskKind = MaskKind.BINARY
    mask_compression: Compression = Compression.NONE
    one_file_per_segment: bool = False
    reports: bool = False
    license: str = "See TERMS.md of the release."
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        broken = broken_rules(self)
        if broken:
            raise UsageError("the archive cannot be written: " + "; ".join(broken), fix="Correct the policy.")

    @property
    def marking(self) -> SyntheticMarking:
        """The marking that every file carries."""
        return SyntheticMarking(self.release_name, self.software, self.software_version)

    @property
    def issuer(self) -> str:
        """Issuer of Patient ID: keeps a synthetic patient apart from a real one of the same number."""
        return f"SYNTHRELEASE {self.release_name}"

    @functools.cached_property
    def patients(self) -> int:
        """How many synthetic patients there are."""
        return -(-self.images // max(1, self.images_per_patient))

    @functools.cached_property
    def digits(self) -> int:
        """Width of a patient's number, the same in all names of an archive, so that names sort as numbers do."""
        return 6 if self.patients < 1_000_000 else 7

    @functools.cached_property
    def mask_files(self) -> int:
        """Mask files of one image."""
        return len(self.segments) if self.one_file_per_segment else min(1, len(self.segments))

    def to_json(self) -> dict[str, Any]:
        """All settings; equal settings give equal values."""
        return asdict(self)


def require_possible(policy: Policy) -> None:
    """Refuse what a policy asks in vain of DICOM, before anything is read or trained for it.

    Raises:
        UsageError: Its archive is of a form that cannot be written.
        PolicyError: A class is to lack an organ.
    """
    release_settings(policy, edition="", software_version="0")
    require_absent_findings(policy.cohort)


def release_settings(
    policy: Policy, *, edition: str, software_version: str, notes: Iterable[tuple[str, str]] = ()
) -> ArchiveSettings:
    """The settings of the archive that a policy asks for.

    Args:
        policy: Public.
        edition: Digest of the generator.
        software_version: Version of synthrelease that writes, or wrote, the archive.
        notes: Column and description of each number that the generator tells of an image.

    Raises:
        UsageError: The policy asks for a form that cannot be written.
    """
    cohort, wanted = policy.cohort, policy.archive
    spacing = cohort.field_of_view_mm / cohort.resolution
    image_class = _image_class(policy)
    return ArchiveSettings(
        release_name=policy.release.name,
        segments=cohort.segments,
        classes=cohort.classes,
        spacing_mm=(spacing, spacing),
        software_version=software_version,
        study_date=wanted.release_date,
        body_part=cohort.body_part,
        edition=edition,
        images=wanted.images,
        images_per_patient=wanted.images_per_patient,
        rows=cohort.resolution,
        columns=cohort.resolution,
        image_class=image_class,
        bits=wanted.bits,
        value_range=_value_range(cohort) if image_class is ImageClass.CT else None,
        modality=_captured(cohort) if image_class is ImageClass.SC else "",
        mask_kind=MaskKind(wanted.masks.kind),
        mask_compression=Compression(wanted.masks.compression),
        one_file_per_segment=wanted.masks.one_file_per_segment,
        reports=wanted.reports,
        license=wanted.license,
        notes=tuple(Note(*note) for note in notes),
    )


_BY_MODALITY = {"DX": ImageClass.DX, "CR": ImageClass.DX, "CT": ImageClass.CT, "MR": ImageClass.MR, "MG": ImageClass.MG}


def _image_class(policy: Policy) -> ImageClass:
    if policy.archive.image_class is not None:
        return ImageClass(policy.archive.image_class)
    return _BY_MODALITY.get(policy.cohort.modality, ImageClass.SC)


def _value_range(cohort: CohortSettings) -> tuple[float, float] | None:
    """The Hounsfield units that the ends of the pixel scale stand for; known only when the policy fixes the window."""
    window = cohort.window
    if cohort.modality != "CT" or window.mode != "fixed" or window.low is None or window.high is None:
        return None
    return (window.low, window.high)


def _captured(cohort: CohortSettings) -> str:
    return "" if cohort.modality == "OT" else cohort.modality
