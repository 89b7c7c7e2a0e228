"""The structured reports are read by others' programs: dcmqi finds the class of each image, DCMTK prints the document."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from archive_forms import CLASSES, Archive, only
from client_needs import importorskip, need

pytestmark = only(lambda form: form.reports)


def test_dcmqi_reads_the_class_of_every_image(archive: Archive, tmp_path: Path) -> None:
    program = Path(str(importorskip("dcmqi").__file__)).parent / "bin" / "tid1500reader"
    for index, entry in enumerate(archive.entries):
        told = tmp_path / f"{index}.json"
        done = subprocess.run(
            [program, "--inputDICOM", str(entry.report), "--outputMetadata", told], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(told.read_text())
        assert document["imageLibrary"] == [entry.sop_uid]
        (group,) = document["Measurements"]
        assert group["TrackingIdentifier"] == CLASSES[int(entry.planes[2].any())]


def test_dcmtk_prints_every_report(archive: Archive) -> None:
    program = shutil.which("dsrdump")
    need("" if program else "dsrdump is not installed (Debian: apt-get install dcmtk)")
    for entry in archive.entries:
        done = subprocess.run([str(program), str(entry.report)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Imaging Measurement Report" in done.stdout
