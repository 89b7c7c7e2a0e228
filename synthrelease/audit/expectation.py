"""What an archive must be, rebuilt from the frozen policy before anything private is opened.

Every DICOM file has a template with slots; what stands in a slot follows from the release and the file's number, but for
pixels. Every other file is known by the digest of its bytes. Nothing here is read from the archive or from a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.release.templates import ReleaseTemplates


@dataclass(frozen=True, eq=False)
class Expectation:
    """What every file of an archive must be.

    Attributes:
        release: Templates and names of all DICOM files.
        texts: SHA-256 of every other file by path, the manifest not among them.
        labels: (images,) class index of every image, as the policy draws it; None: reports may state any class.
    """

    release: ReleaseTemplates
    texts: Mapping[str, str]
    labels: npt.NDArray[np.integer] | None = None

    @property
    def images(self) -> int:
        """How many images there must be."""
        return self.release.images
