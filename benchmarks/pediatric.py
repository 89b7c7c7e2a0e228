"""The paediatric chest radiographs as a table that synthrelease reads.

The images are not part of this repository. They are looked for in the folder named by SYNTHRELEASE_DATA, then in
``../shared/data``: ``cxr-pediatric/{labels.csv, images_128.zip, lung_masks_128.zip}``.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from pathlib import Path

from synthrelease.errors import UnsuitableData
from synthrelease.records.files import atomic_folder

HOME = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Path:
    """Where the data set ``name`` lies.

    Raises:
        UnsuitableData: It is not on this machine.
    """
    for root in (os.environ.get("SYNTHRELEASE_DATA"), str(HOME.parent / "shared" / "data")):
        if root and (Path(root) / name / "labels.csv").is_file():
            return Path(root) / name
    raise UnsuitableData(
        f"the data set {name} is not on this machine", fix="Set SYNTHRELEASE_DATA to the folder that holds it."
    )


def chests_without_twins() -> list[dict[str, str]]:
    """Rows with a mask status, of children whose image is not known to stand under another id as well.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    with (data_folder("cxr-pediatric") / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["mask_status"] != "none"]
    owners: dict[str, set[str]] = {}
    for row in rows:
        owners.setdefault(row["exact_dup_group"], set()).add(row["patient_id"])
    twins = {p for group, patients in owners.items() if group and len(patients) > 1 for p in patients}
    return [row for row in rows if row["patient_id"] not in twins]


def write_table(target: Path, patients: int | None = None) -> Path:
    """Unpack the set into ``target`` as PNG files and one table.csv; reuses a finished folder.

    Args:
        target: Folder to make.
        patients: Keep only the first so many patients with a mask; None: all.

    Returns:
        The folder.
    """
    source = data_folder("cxr-pediatric")
    if (target / "table.csv").is_file():
        return target
    with (source / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["mask_status"] != "none"]
    if patients is not None:
        keep = set(
            sorted({row["patient_id"] for row in rows})[:: max(1, len({r["patient_id"] for r in rows}) // patients)]
        )
        rows = [row for row in rows if row["patient_id"] in keep]
    with (
        atomic_folder(target) as folder,
        zipfile.ZipFile(source / "images_128.zip") as images,
        zipfile.ZipFile(source / "lung_masks_128.zip") as masks,
    ):
        known = set(masks.namelist())
        for name in ("images", "masks"):
            (folder / name).mkdir()
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["image", "patient_id", "label", "mask"])
        for row in rows:
            name = row["image"]
            if name not in known:
                continue
            (folder / "images" / name).write_bytes(images.read(name))
            (folder / "masks" / name).write_bytes(masks.read(name))
            writer.writerow([f"images/{name}", row["patient_id"], row["label"], f"masks/{name}"])
        (folder / "table.csv").write_text(table.getvalue(), encoding="utf-8")
    return target
