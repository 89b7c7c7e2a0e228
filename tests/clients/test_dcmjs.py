"""dcmjs, which the web viewers read DICOM with, sees every mask exactly and that the data are synthetic."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess

import numpy as np
from archive_forms import Archive, only
from client_needs import need

from clients import WEB


@only(lambda form: form.compression == "none")  # dcmjs has no decoders
def test_dcmjs_reads_masks_exactly_and_sees_that_they_are_synthetic(archive: Archive) -> None:
    node = shutil.which("node")
    need("" if node else "Node.js is not installed")
    need("" if (WEB / "node_modules" / "dcmjs").is_dir() else "dcmjs is not installed (clients/install node)")
    files = [path for _, path in archive.masks]
    done = subprocess.run([node, WEB / "dcmjs_read.mjs", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (entry, path), read in zip(archive.masks, json.loads(done.stdout), strict=True):
        assert read["syntheticData"] == "YES"
        assert read["type"] == archive.form.mask_kind.upper()
        planes = [np.frombuffer(base64.b64decode(one["mask"]), np.uint8) for one in read["segments"]]
        shape = (len(planes), read["rows"], read["columns"])
        assert np.array_equal(np.reshape(planes, shape), entry.planes_of(path))
