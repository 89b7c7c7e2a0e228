"""A .npy file whose number of rows is known only at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADER = 256


class GrowingArray:
    """Writes rows one after the other; `close` puts their number into the header.

    Args:
        path: The .npy file.
        row_shape: Shape of one row.
        kind: Type of the values, little-endian.

    Source: NumPy's description of the NPY format, version 1.0.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        self.row_shape = row_shape
        self._kind = kind
        self._rows = 0
        self._stream = path.open("wb")
        self._stream.write(self._header())

    def _header(self) -> bytes:
        shape = (self._rows, *self.row_shape)
        text = f"{{'descr': '{self._kind.str}', 'fortran_order': False, 'shape': {shape}, }}"
        length = _HEADER - 10
        return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"

    def append(self, row: npt.NDArray[Any]) -> None:
        """Write one row, cast to the file's type."""
        if row.shape != self.row_shape:
            raise ValueError(f"a row of shape {row.shape} does not fit {self.row_shape}")
        self._stream.write(np.ascontiguousarray(row, dtype=self._kind).tobytes())
        self._rows += 1

    def close(self) -> None:
        """Write the header again, with the number of rows."""
        self._stream.seek(0)
        self._stream.write(self._header())
        self._stream.close()
