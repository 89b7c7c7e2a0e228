"""The OHIF viewer on loopback: its prebuilt pages, and behind them the DICOMweb of a local Orthanc.

Pages and DICOMweb come from one address, so the browser has no reason to refuse either.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from clients import WEB
from clients.orthanc import ends_with_me
from synthrelease.errors import UnsuitableData

VIEWER = Path(__file__).parents[1] / "build" / "clients" / "ohif"
"""Where `clients/install viewer` unpacks the viewer."""

_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
_PASSED_ON = ("Accept", "Content-Type")
_ROOT = "/dicom-web"


def missing() -> str:
    """What keeps the viewer from being shown here, in words; "" when nothing does."""
    return "" if (VIEWER / "index.html").is_file() else "the OHIF viewer is not unpacked (run `make clients`)"


@contextmanager
def ohif(dicomweb: str, *, port: int = 0) -> Iterator[str]:
    """Serve the viewer on loopback, over the archive that a DICOMweb server holds.

    Args:
        dicomweb: Address of the server, without `/dicom-web`.
        port: Of the viewer; 0 takes a free one.

    Yields:
        The viewer's address, without a slash at the end.

    Raises:
        UnsuitableData: The viewer is not unpacked, or the port is taken.
    """
    if missing():
        raise UnsuitableData(missing(), fix="Run `make clients`, which fetches it.")
    handler = type("Handler", (_Handler,), {"upstream": urlsplit(dicomweb).netloc})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UnsuitableData(f"port {port} is taken", fix="Choose another, or 0 for any free one.") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def study_address(viewer: str, study_uid: str) -> str:
    """Where the viewer shows one study."""
    return f"{viewer}/viewer?StudyInstanceUIDs={study_uid}"


@dataclass(frozen=True)
class SeenSegment:
    """A segment as the viewer shows it.

    Attributes:
        number: Segment number.
        label: As written beside its colour.
        color: Red, green and blue in 0..255; None when the viewer has none for it.
        mask: (rows x columns,) bool, row by row.
    """

    number: int
    label: str
    color: tuple[int, ...] | None
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SeenStudy:
    """A study as the viewer shows it.

    Attributes:
        masks: Segments of each segmentation that was opened, by SOP Instance UID.
        complaints: Errors of the viewer, failed requests, and what was waited for in vain; none when all went well.
    """

    masks: Mapping[str, tuple[SeenSegment, ...]]
    complaints: tuple[str, ...]


def browser_missing() -> str:
    """What keeps `look` from working here, in words; "" when nothing does."""
    if _chromium() is None:
        return "Chromium is not installed (Debian: apt-get install chromium)"
    if shutil.which("node") is None:
        return "Node.js is not installed"
    if not (WEB / "node_modules" / "puppeteer-core").is_dir():
        return "puppeteer-core is not installed (clients/install node)"
    return ""


def look(viewer: str, studies: Sequence[str], pictures: Mapping[str, Path]) -> list[SeenStudy]:
    """Open studies in a headless Chromium, double-click each segmentation, and tell what is seen.

    Args:
        viewer: The viewer's address.
        studies: Study Instance UIDs; about ten seconds each on one core.
        pictures: Where to leave a PNG of the screen, by study.

    Returns:
        One entry a study.

    Raises:
        UnsuitableData: The browser or its driver is missing or failed.
    """
    if browser_missing():
        raise UnsuitableData(browser_missing(), fix="Run `make clients`, which fetches it.")
    asked = [
        {"address": study_address(viewer, study), "picture": str(pictures[study]) if study in pictures else None}
        for study in studies
    ]
    done = subprocess.run(
        [*ends_with_me(), "node", str(WEB / "ohif_look.mjs")],
        input=json.dumps({"browser": _chromium(), "studies": asked}),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise UnsuitableData("the browser failed: " + done.stderr[-500:], fix="Try Chromium by hand.")
    return [
        SeenStudy(
            {mask["instance"]: tuple(map(_segment, mask["segments"])) for mask in study["masks"]},
            tuple(study["complaints"]),
        )
        for study in json.loads(done.stdout)
    ]


def _segment(told: dict[str, Any]) -> SeenSegment:
    mask = np.frombuffer(base64.b64decode(told["mask"]), np.uint8).astype(bool)
    return SeenSegment(told["number"], told["label"], tuple(told["color"]) if told.get("color") else None, mask)


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class _Handler(BaseHTTPRequestHandler):
    """Files of the viewer; DICOMweb is asked of `upstream` (host:port)."""

    protocol_version = "HTTP/1.1"
    upstream: str

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/app-config.js":
            self._answer(200, "text/javascript", _configuration())
        elif path.startswith(f"{_ROOT}/"):
            self._ask_upstream()
        else:
            self._file(path)

    def _file(self, path: str) -> None:
        found = (VIEWER / path.lstrip("/")).resolve()
        # An address that is no file is a page of the viewer, which its own script knows.
        if not (found.is_file() and found.is_relative_to(VIEWER.resolve())):
            found = VIEWER / "index.html"
        self._answer(200, _TYPES.get(found.suffix, "application/octet-stream"), found.read_bytes())

    def _ask_upstream(self) -> None:
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            # Orthanc writes the host it was asked by into its links; they must lead through here.
            headers = {name: value for name in _PASSED_ON if (value := self.headers.get(name))}
            connection.request("GET", self.path, headers={"Host": self.headers.get("Host", self.upstream), **headers})
            answer = connection.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type", "application/octet-stream"), answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: every frame is a request."""


def _configuration() -> bytes:
    """The viewer's settings: one DICOMweb source, at this very address."""
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "orthanc",
        "configuration": {
            "friendlyName": "Orthanc on this machine",
            "name": "orthanc",
            "wadoUriRoot": _ROOT,
            "qidoRoot": _ROOT,
            "wadoRoot": _ROOT,
            "qidoSupportsIncludeField": False,
            "supportsFuzzyMatching": False,
            "supportsWildcard": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
    settings = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "orthanc",
        "dataSources": [source],
    }
    return f"window.config = {json.dumps(settings)};".encode()
