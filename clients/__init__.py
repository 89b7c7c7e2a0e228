"""Real DICOM clients to try an archive with: the Orthanc server, the OHIF viewer, dcmqi and dcmjs.

Not part of the installed package. ``make look ARCHIVE=runs/NAME/archive`` loads an archive into a local Orthanc and
opens it in OHIF; ``make clients`` runs every check of ``tests/clients``.
"""

from pathlib import Path

WEB = Path(__file__).parent / "web"
"""The JavaScript of the clients, with its node_modules."""
