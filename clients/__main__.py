"""Look at an archive: ``python -m clients FOLDER`` loads it into a local Orthanc and shows it in OHIF until Ctrl-C.

FOLDER is an archive, a release pack, or any folder of synthetic DICOM files. Storage is temporary: nothing stays.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pydicom

from clients import ohif
from clients.orthanc import AE_TITLE, Orthanc, orthanc
from synthrelease.errors import SynthreleaseError, UnsuitableData


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is that of `synthrelease`'s errors."""
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__)
    parser.add_argument("folder", type=Path, help="an archive, a release pack, or a folder of synthetic DICOM files")
    parser.add_argument("--port", type=int, default=0, help="of the viewer; by default any free one")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as running:
            files = list(synthetic_files(options.folder))
            server = running.enter_context(orthanc())
            show(server, files)
            if ohif.missing():
                print(f"OHIF     not shown: {ohif.missing()}")
            else:
                print(f"OHIF     {running.enter_context(ohif.ohif(server.url, port=options.port))}/")
            print("Ctrl-C ends it; nothing is kept.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print()
    except SynthreleaseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def synthetic_files(folder: Path) -> Iterator[Path]:
    """The DICOM files of an archive, a pack or a folder, in order.

    Raises:
        UnsuitableData: There is none, or one does not say Synthetic Data (0008,001C) = YES: the server asks nobody for
            a password, so a patient's image has no place in it.
    """
    base = next((place for place in (folder / "DICOM", folder / "data" / "DICOM") if place.is_dir()), folder)
    found = False
    for path in sorted(path for path in base.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SyntheticData"])
        except pydicom.errors.InvalidDicomError:
            continue
        if header.get("SyntheticData") != "YES":
            raise UnsuitableData(
                "a file of the folder does not say that it is synthetic", fix="Name the folder of a synthetic archive."
            )
        found = True
        yield path
    if not found:
        raise UnsuitableData("the folder holds no DICOM file", fix="Name an archive, e.g. runs/NAME/archive.")


def show(server: Orthanc, files: Sequence[Path]) -> None:
    """Send the files to the server, and tell what it took and where it is.

    Raises:
        UnsuitableData: The server refused a file.
    """
    answer = server.store(files)
    if answer.refused:
        raise UnsuitableData(
            f"Orthanc refused {len(answer.refused)} of {len(files)} files", fix="Run dciodvfy on them."
        )
    counts = server.statistics()
    print(", ".join(f"{count} {level}" for level, count in counts.items()))
    print(f"Orthanc  {server.url}/app/explorer.html")
    print(f"DICOMweb {server.url}/dicom-web")
    print(f"C-STORE  127.0.0.1 port {server.dicom_port}, called AE title {AE_TITLE}, calling AE title STORESCU")


if __name__ == "__main__":
    sys.exit(main())
