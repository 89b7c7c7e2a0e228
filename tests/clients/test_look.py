"""`python -m clients ARCHIVE` shows an archive and leaves nothing behind; a patient's image is not let in."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from archive_forms import IMAGES, Archive, Form
from client_needs import need

from clients import __main__ as command
from clients import ohif
from clients.orthanc import ends_with_me, missing, orthanc
from synthrelease.errors import UnsuitableData

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plain(archive_of: Callable[[Form], Archive]) -> Archive:
    return archive_of(Form())


def test_an_archive_is_loaded_shown_and_gone_after_ctrl_c(plain: Archive, tmp_path: Path) -> None:
    need(missing())
    process = subprocess.Popen(
        [sys.executable, "-m", "clients", str(plain.folder)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        said = {}
        for line in iter(process.stdout.readline, ""):
            name, _, rest = line.partition(" ")
            said[name] = rest.strip()
            if name == "Ctrl-C":
                break
        try:
            assert said[str(IMAGES)] == f"patients, {IMAGES} studies, {2 * IMAGES} series, {2 * IMAGES} instances"
            for name in ("Orthanc", "OHIF") if not ohif.missing() else ("Orthanc",):
                with open_here(said[name]) as page:
                    assert b"<html" in page.read().lower()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        open_here(said["Orthanc"])


def open_here(address: str):
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=20)


def test_orthanc_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    need(missing())
    need("" if ends_with_me() else "setpriv is not installed (Debian: util-linux)")
    code = "from clients.orthanc import orthanc\nimport time\nwith orthanc() as o: print(o.url, flush=True); time.sleep(99)"
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip()
        open_here(f"{address}/app/explorer.html").close()
        process.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            open_here(address).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("Orthanc outlived the program that started it")


def test_a_sender_that_is_not_known_is_refused(plain: Archive) -> None:
    need(missing())
    need("" if shutil.which("storescu") else "storescu is not installed (Debian: apt-get install dcmtk)")
    with orthanc() as server:
        assert server.store(plain.files[:1]).refused == ()
        done = subprocess.run(
            ["storescu", "-R", "-aet", "STRANGER", "127.0.0.1", str(server.dicom_port), str(plain.files[1])],
            capture_output=True,
        )
        assert done.returncode != 0
        assert server.statistics()["instances"] == 1


def test_a_file_that_does_not_say_it_is_synthetic_is_not_loaded(plain: Archive, tmp_path: Path) -> None:
    image = pydicom.dcmread(plain.files[0])
    del image.SyntheticData
    image.save_as(tmp_path / "I0000001", enforce_file_format=True)
    with pytest.raises(UnsuitableData, match="does not say that it is synthetic"):
        list(command.synthetic_files(tmp_path))
    assert command.main([str(tmp_path)]) == UnsuitableData.exit_code


def test_archives_packs_and_folders_are_understood(plain: Archive, tmp_path: Path) -> None:
    assert list(command.synthetic_files(plain.folder)) == plain.files
    assert list(command.synthetic_files(plain.folder / "DICOM")) == plain.files
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "data").symlink_to(plain.folder)
    assert len(list(command.synthetic_files(tmp_path / "pack"))) == len(plain.files)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsuitableData, match="no DICOM file"):
        list(command.synthetic_files(tmp_path / "empty"))
