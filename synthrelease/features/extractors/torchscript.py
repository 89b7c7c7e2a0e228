"""A feature network that the user brings as a TorchScript file, Inception among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors.preprocessing import as_rgb, in_batches, resized
from synthrelease.records.digests import digest_of_file

_SCALE = {"signed": (1.0, 0.0), "unit": (0.5, 0.5), "byte": (127.5, 127.5)}


class TorchScriptNetwork:
    """A file that takes (N, 3, side, side) float32 and gives (N, D), or (N, D, h, w), which is averaged.

    The file is code and runs as such: it comes from whoever wrote the profile, whose digest the audit records.

    Args:
        module: The loaded file. side: Pixels on a side that it takes. scale: A key of the grey ranges.
        digest: SHA-256 of the file.
    """

    def __init__(self, module: Any, side: int, scale: str, digest: str) -> None:
        self._module, self._side = module, side
        self._gain, self._offset = _SCALE[scale]
        arguments = getattr(getattr(module, "forward", None), "schema", None)
        # The Inception file of the StyleGAN authors gives classes unless it is asked for features.
        self._asks = any(a.name == "return_features" for a in arguments.arguments) if arguments else False
        self.name = (
            f"user's TorchScript {digest[:12]} at {side} px, {scale} grey (in three channels, antialiased, fixed "
            "window), fitted on data unknown to this tool"
        )

    @classmethod
    def read(cls, path: Path | None, side: int, scale: str) -> TorchScriptNetwork:
        """Open a file.

        Raises:
            UsageError: No file was named, or it is not there.
            UnsuitableData: It is no TorchScript.
        """
        if path is None or not path.is_file():
            raise UsageError(
                "the extractor torchscript needs a file that is there", fix="Name it in extractor.file of the profile."
            )
        try:
            module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except Exception as error:
            raise UnsuitableData(
                "the extractor's file is no TorchScript", fix="Write it with torch.jit.script(...).save(...)."
            ) from error
        return cls(module, side, scale, digest_of_file(path))

    def __call__(self, images: FloatArray) -> npt.NDArray[np.float64]:
        """(N, 1, H, W) in [-1, 1] to (N, D)."""
        return in_batches(images, self._features)

    def _features(self, images: Tensor) -> Tensor:
        ready = as_rgb(resized(images, self._side) * self._gain + self._offset).contiguous()
        features: Tensor = self._module(ready, return_features=True) if self._asks else self._module(ready)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features.reshape(len(images), -1)
