"""Headers: nothing that identifies a real person or place may stand in an outgoing file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from synthrelease.audit.case import AuditCase
from synthrelease.audit.headers import (
    Fingerprints,
    elements,
    identifying,
    is_date,
    outgoing_tokens,
    raw_tokens,
    read_header,
    texts,
    tokens,
    whole,
)
from synthrelease.audit.measurement import Measurement, unable
from synthrelease.audit.parallel import over_files
from synthrelease.dicom.image import ImageHeader, SyntheticMarking, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.dicom.segments import SEGMENTS
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "outgoing files with a value of a real header"
PLANTS = 20
SAMPLES = 2000


class HeaderLeak:
    """Keyed fingerprints of real header values against the raw bytes and parsed values of every outgoing file."""

    id = "header_leak"
    question = "Does an outgoing file carry a name, number, date or identifier of a real patient, person or site?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = False

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count outgoing files with a hit; plant real values in copies of outgoing bytes to measure the scan."""
        if case.real_folder is None or case.synthetic_folder is None:
            return unable(NAME, Direction.LOWER, "the folders of the private and of the synthetic files were not given")
        prints = Fingerprints(allowed=template_words())
        samples: list[str] = []
        sources = 0
        for values in over_files(identifying_values, _files(case.real_folder)):
            if values is None:
                continue
            sources += 1
            for name, found in values:
                prints.add(found, name)
                if len(samples) < SAMPLES:
                    samples += sorted(t for t in found - prints.allowed if not t.startswith("="))
        outgoing = _files(case.synthetic_folder)
        scan = _scan(outgoing, prints)
        n = {"real_files": sources, "outgoing_files": len(outgoing)}
        if not sources or scan.sample is None:
            side = "private" if not sources else "synthetic"
            reason = f"not applicable: the {side} folder holds no DICOM file, so there are no headers to compare"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=n)
        leaking = scan.leaking
        recall = _planted_recall(scan.sample.read_bytes(), samples, prints, rng)
        count = float(leaking)
        return Measurement(
            Statistic(NAME, count, count, count, 1.0, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(1.0, "outgoing files", {"value_in_raw_bytes": recall} if recall is not None else {}),
            n,
            controls_missed=() if recall == 1.0 else ("value_in_raw_bytes",),
            note=f"{leaking} of {len(outgoing)} outgoing files carry a value of a real header",
            details={"files_by_attribute": dict(sorted(scan.origins.items())), "fingerprints": len(prints.known)},
        )


def identifying_values(path: Path) -> list[tuple[str, set[str]]] | None:
    """The identifying tokens of a real file by attribute; None when it is no DICOM file."""
    dataset = read_header(path)
    if dataset is None:
        return None
    values = ((element.keyword or "private tag", identifying(element)) for element in elements(dataset))
    return [(name, found) for name, found in values if found]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class _Scan:
    """Files with a hit, how many files by attribute of the real header, and one DICOM file to plant in."""

    leaking: int
    origins: Counter[str]
    sample: Path | None


def _scan(outgoing: list[Path], prints: Fingerprints) -> _Scan:
    """Look at every outgoing file.

    A date that every outgoing DICOM file carries is the archive's own date, not a patient's. (The same may not be
    said of a word: the name of a hospital would be in all its files.)
    """
    hits: list[dict[str, str]] = []
    dicom: list[Path] = []
    common: set[str] = set()
    for path, (said, is_dicom) in zip(outgoing, over_files(outgoing_tokens, outgoing), strict=True):
        hits.append(prints.hits(said))
        if is_dicom:
            dates = {token for token in said if is_date(token)}
            common = common & dates if dicom else dates
            dicom.append(path)
    ignored = common if len(dicom) > 1 else set()
    origins: Counter[str] = Counter()
    leaking = 0
    for found in hits:
        attributes = {origin for token, origin in found.items() if token not in ignored}
        leaking += bool(attributes)
        origins.update(attributes)
    return _Scan(leaking, origins, dicom[0] if dicom else None)


def _planted_recall(raw: bytes, samples: list[str], prints: Fingerprints, rng: np.random.Generator) -> float | None:
    """Share of real values found when put into the preamble or behind the pixels of an outgoing file's bytes."""
    if not samples:
        return None
    found = []
    for number, sample in enumerate(rng.permutation(np.array(samples))[:PLANTS]):
        value = str(sample).encode()
        leaked = value[:128].ljust(128, b"\0") + raw[128:] if number % 2 else raw + b"\0" + value
        found.append(bool(prints.hits(raw_tokens(leaked))))
    return float(np.mean(found))


def template_words() -> frozenset[str]:
    """What the writer's own templates say, whatever the patient: words and values that prove nothing."""
    uid = "2.25.1"
    marking = SyntheticMarking(release_name="synthetic release", software="synthrelease", version="")
    header = ImageHeader(
        patient_id="",
        issuer="",
        patient_name="",
        study_uid=uid,
        series_uid=uid,
        sop_uid=uid,
        frame_of_reference_uid=uid,
        study_id="",
        accession_number="",
        study_date="20000101",
        study_time="000000",
        series_number=1,
        instance_number=1,
        manufacturer="synthrelease",
        model_name="synthrelease",
        software_versions="",
        spacing_mm=(1.0, 1.0),
        synthetic=marking,
    )
    image = dx_image(np.zeros((8, 8), dtype=np.uint16), header)
    masks = segmentation(
        image,
        np.zeros((len(SEGMENTS), 8, 8), dtype=np.bool_),
        tuple(SEGMENTS),
        sop_uid=uid,
        series_uid=uid,
        dimension_uid=uid,
        created_date="20000101",
        created_time="000000",
        marking=marking,
    )
    return frozenset(_words_of(image) | _words_of(masks)) - {"20000101", uid}


def _words_of(template: Dataset) -> set[str]:
    found: set[str] = set()
    for element in elements(template):
        for text in texts(element) + ([str(element.value)] if element.VR == "CS" else []):
            found |= tokens(text) | {whole(text)}
    return found
