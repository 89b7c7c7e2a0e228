"""Features of the local-discrimination encoder for landmarks: what each stage of its network sees, on the whole.

Mean and deviation over the image of every channel of every stage, from edges to anatomy, and of the first convolution,
which keeps grey levels that the stages normalise away: 320 numbers with the public encoder. Images are resampled to the
size at which the encoder was fitted, for how far a stage sees is told in pixels. The public one was trained on
phantoms. Another one may be named; one that was fitted to private images says so in the name of every number, and the
audit refuses it where it knows the images that are compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.errors import UsageError
from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors.preprocessing import in_batches, resized
from synthrelease.features.uld.encoder import Encoder
from synthrelease.features.uld.networks import EmbeddingNetwork
from synthrelease.features.uld.public import public_encoder

SIDE = 64
"""Pixels on a side, for an encoder that does not tell at which it was fitted."""


class LocalDiscrimination:
    """Stage-wise means and deviations of an encoder.

    Args:
        encoder: One for landmarks.

    Attributes:
        fitted_on: Sketch of the images that it was fitted to, see :mod:`synthrelease.features.uld.sketch`; empty for
            the public one.

    Raises:
        UsageError: The encoder is one for copies: it knows patients and not anatomy.
    """

    def __init__(self, encoder: Encoder) -> None:
        if not isinstance(encoder.network, EmbeddingNetwork):
            raise UsageError(
                "the extractor uld needs an encoder for landmarks, and the file holds one for copies",
                fix="Fit one: synthrelease features fit --role landmarks.",
            )
        self._network = encoder.network.eval()
        self._side = encoder.side or SIDE
        self.fitted_on = tuple(encoder.provenance.cohort_digests)
        self.name = (
            f"uld: local discrimination {encoder.digest[:12]} at {self._side} px (antialiased, fixed window), "
            f"{whom(encoder)}"
        )

    @classmethod
    def opened(cls, file: Path | None) -> LocalDiscrimination:
        """The encoder of a file, or the public one.

        Raises:
            UsageError: The file is not there, or holds an encoder for copies.
            UnsuitableData: It is no encoder.
        """
        if file is None:
            return cls(public_encoder("landmarks"))
        if not file.is_file():
            raise UsageError("the encoder that extractor.file names is not there", fix="Name it in the profile.")
        return cls(Encoder.load(file))

    def __call__(self, images: FloatArray) -> npt.NDArray[np.float64]:
        """(N, 1, H, W) in [-1, 1] to (N, D)."""
        return in_batches(images, self._features)

    def _features(self, images: Tensor) -> Tensor:
        sized = resized(images, self._side)
        first: Tensor = next(layer for layer in self._network.modules() if isinstance(layer, nn.Conv2d))(sized)
        seen = [first, *self._network.stages(sized)]
        return torch.cat([part for x in seen for part in (x.mean((2, 3)), x.std((2, 3)))], dim=1)


def whom(encoder: Encoder) -> str:
    """Whom an encoder was fitted on, for people."""
    kind = encoder.provenance.kind
    if kind == "public":
        return f"trained on {encoder.provenance.source}, fitted on no patient"
    if kind == "dp":
        return f"fitted on private images with epsilon {encoder.provenance.epsilon:g}"
    return "fitted on private images, internal"
