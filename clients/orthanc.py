"""An Orthanc PACS of one's own: on loopback, on free ports, with an empty storage that goes away with it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from synthrelease.errors import UnsuitableData

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
"""Where Debian's orthanc-dicomweb puts the plug-in."""

AE_TITLE = "ORTHANC"
_START_SECONDS = 60
_FILES_A_REQUEST = 200
_STARTS = 3

Json = Any


def missing() -> str:
    """What keeps Orthanc from starting here, in words; "" when nothing does."""
    if _program() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    if not PLUGIN.is_file():
        return "Orthanc's DICOMweb plug-in is not installed (Debian: apt-get install orthanc-dicomweb)"
    return ""


@dataclass(frozen=True)
class Stored:
    """What a STOW-RS server said of the instances it was sent: SOP Instance UIDs."""

    accepted: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc.

    Attributes:
        url: Its web address, without a slash at the end.
        dicom_port: Where it takes C-STORE, under the AE title `AE_TITLE`.
    """

    url: str
    dicom_port: int

    def get(self, path: str, accept: str = "application/json") -> bytes:
        """The body of a GET request; `path` starts with a slash."""
        return _body(urllib.request.Request(self.url + path, headers={"Accept": accept}))

    def delete(self, path: str) -> None:
        """Send a DELETE request."""
        _body(urllib.request.Request(self.url + path, method="DELETE"))

    def json(self, path: str) -> Json:
        """The body of a GET request, as JSON."""
        return json.loads(self.get(path))

    def find(self, level: str, **query: str) -> list[dict[str, Any]]:
        """QIDO-RS: DICOM JSON records at "studies", "series" or "instances" that match the query."""
        return list(self.json(f"/dicom-web/{level}?{urlencode({'limit': 100_000, **query})}"))

    def statistics(self) -> Mapping[str, int]:
        """Numbers of patients, studies, series and instances held."""
        counts = self.json("/statistics")
        return {
            level: int(counts[f"Count{level.capitalize()}"]) for level in ("patients", "studies", "series", "instances")
        }

    def store(self, files: Iterable[Path]) -> Stored:
        """Send files by STOW-RS (PS3.18, section 10.5), some hundred in one request."""
        accepted: list[str] = []
        refused: list[str] = []
        for batch in _batches(files, _FILES_A_REQUEST):
            answer = self._store(batch)
            accepted += _references(answer, "00081199")
            refused += _references(answer, "00081198")
        return Stored(tuple(accepted), tuple(refused))

    def _store(self, files: Sequence[Path]) -> Json:
        boundary = uuid.uuid4().hex
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
            for path in files
        ]
        request = urllib.request.Request(
            f"{self.url}/dicom-web/studies",
            data=b"".join(parts) + f"--{boundary}--\r\n".encode(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
        )
        return json.loads(_body(request))

    def frame(self, instance: str, number: int = 1) -> bytes:
        """One frame's stored bytes by WADO-RS, uncompressed (Explicit VR Little Endian); `instance` as `path_of` gives."""
        accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
        return _only_part(self.get(f"{instance}/frames/{number}", accept))

    def instance(self, instance: str) -> bytes:
        """A whole file by WADO-RS, in the transfer syntax it was stored in; `instance` as `path_of` gives."""
        return _only_part(self.get(instance, 'multipart/related; type="application/dicom"; transfer-syntax=*'))


def path_of(study: str, series: str, instance: str) -> str:
    """Where DICOMweb has an instance."""
    return f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"


@contextmanager
def orthanc() -> Iterator[Orthanc]:
    """Start an Orthanc with DICOMweb and an empty storage; stop it and remove the storage at the end.

    It takes files from this machine only, and asks nobody for a password: for synthetic archives, not for patients.

    Raises:
        UnsuitableData: Orthanc is not installed, or did not start.
    """
    if missing():
        raise UnsuitableData(missing(), fix="Install it, e.g. by `make clients` as root on Debian or Ubuntu.")
    with tempfile.TemporaryDirectory(prefix="orthanc-") as name:
        folder = Path(name)
        process, server = _started(folder)
        try:
            yield server
        finally:
            _stop(process)


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], Orthanc]:
    # Another program may take a port between looking and starting: look again.
    for _ in range(_STARTS):
        http_port, dicom_port = _free_ports(2)
        settings = folder / "orthanc.json"
        settings.write_text(json.dumps(_settings(folder / "storage", http_port, dicom_port)))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*ends_with_me(), str(_program()), str(settings)],
                cwd=folder,
                # DCMTK, which Orthanc is built on, else lets small packets wait for each other: 0.1 s an instance.
                env={**os.environ, "TCP_NODELAY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        server = Orthanc(f"http://127.0.0.1:{http_port}", dicom_port)
        try:
            if _answers(process, server):
                return process, server
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
    raise UnsuitableData("Orthanc did not start: " + " / ".join(last), fix="Run `Orthanc --version` to see why.")


def _settings(storage: Path, http_port: int, dicom_port: int) -> dict[str, object]:
    return {
        "Name": "synthrelease",
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": AE_TITLE,
        # Only this machine: by HTTP, and by DICOM through the list of known modalities.
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {"storescu": ["STORESCU", "127.0.0.1", 104]},
        # Label Map Segmentation Storage is younger than this Orthanc.
        "UnknownSopClassAccepted": True,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "JobsHistorySize": 0,
        "SaveJobs": False,
    }


def _answers(process: subprocess.Popen[bytes], server: Orthanc) -> bool:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            return bool(server.json("/system")["Name"] == "synthrelease") and process.poll() is None
        except OSError:
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Asked politely, Orthanc tidies for four seconds a storage that is deleted right after.
    process.kill()
    process.wait()


def ends_with_me() -> list[str]:
    """What to put before a command so that Linux ends it when this process is killed and cannot end it itself."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _program() -> str | None:
    # Debian puts it into /usr/sbin, which an ordinary user's PATH lacks.
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


# A proxy that the environment names knows nothing of this machine's loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _body(request: urllib.request.Request) -> bytes:
    with _OPENER.open(request, timeout=120) as answer:
        return bytes(answer.read())


def _references(answer: Json, sequence: str) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.get(sequence, {}).get("Value", []) if "00081155" in item]


def _only_part(body: bytes) -> bytes:
    """The content of a multipart body of one part (RFC 2046)."""
    boundary = body[: body.index(b"\r\n")]
    start = body.index(b"\r\n\r\n") + 4
    return body[start : body.rindex(b"\r\n" + boundary)]


def _batches(files: Iterable[Path], size: int) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in files:
        batch.append(path)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
