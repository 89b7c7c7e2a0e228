"""Lossless JPEG through GDCM, in a process of its own: a damaged stream makes GDCM end the process that it runs in.

The process is started when the first frame comes, serves until its parent ends, and is replaced when it dies. Each frame
goes over a pipe; whatever happens to it, the parent learns values or nothing.

    python -m synthrelease.dicom.lossless_jpeg    # the child; not for people
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import struct
import subprocess
import sys
import time
from typing import IO, Any

SECONDS = 60.0
"""A frame that takes longer is refused."""

_ASK = struct.Struct("<IIII")
_ANSWER = struct.Struct("<I")
_CHUNK = 1 << 20
_child: subprocess.Popen[bytes] | None = None


def decode(content: bytes, rows: int, columns: int, precision: int, *, seconds: float = SECONDS) -> bytes | None:
    """Decode a stream of one component.

    Args:
        content: The stream (JPEG process 14).
        rows: H.
        columns: W.
        precision: Bits of a sample, 2 to 16.
        seconds: See `SECONDS`.

    Returns:
        H W values, one byte each up to 8 bits, else two, little-endian; None when GDCM refuses it, dies or hangs.
    """
    size = rows * columns * (1 if precision <= 8 else 2)
    for fresh in (False, True):
        child = _running()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(_ASK.pack(len(content), rows, columns, precision) + content)
            child.stdin.flush()
        except OSError:
            _end()
            if fresh:
                return None
            continue  # it had died before this frame came
        deadline = time.monotonic() + seconds
        answer = _received(child.stdout, _ANSWER.size, deadline)
        if answer is None:
            _end()
            return None
        length = _ANSWER.unpack(answer)[0]
        raw = _received(child.stdout, length, deadline) if length else None
        if length and raw is None:
            _end()
        return raw if raw is not None and len(raw) >= size else None
    return None


def _running() -> subprocess.Popen[bytes]:
    global _child
    if _child is None or _child.poll() is not None:
        if _child is None:
            atexit.register(_end)
        else:
            _end()
        # A session of its own: Ctrl-C is the parent's.
        _child = subprocess.Popen(
            [sys.executable, "-P", "-m", "synthrelease.dicom.lossless_jpeg"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return _child


def _end() -> None:
    """End the child and close its pipes."""
    global _child
    if _child is not None:
        _child.kill()
        for pipe in (_child.stdin, _child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _child.wait()
        _child = None


def _received(pipe: IO[bytes], size: int, deadline: float) -> bytes | None:
    """So many bytes; None when the child ends or the time does."""
    found = bytearray()
    while len(found) < size:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None
        part = os.read(pipe.fileno(), min(size - len(found), _CHUNK))
        if not part:
            return None
        found += part
    return bytes(found)


def _serve(asked: IO[bytes], answered: IO[bytes]) -> None:
    import gdcm

    for silence in (gdcm.Trace.DebugOff, gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff):
        silence()
    while head := asked.read(_ASK.size):
        length, rows, columns, precision = _ASK.unpack(head)
        raw = _by_gdcm(gdcm, asked.read(length), rows, columns, precision)
        answered.write(_ANSWER.pack(len(raw)) + raw)
        answered.flush()


def _by_gdcm(gdcm: object, content: bytes, rows: int, columns: int, precision: int) -> bytes:
    """The values; empty when GDCM says that it cannot."""
    g: Any = gdcm
    fragment = g.Fragment()
    fragment.SetByteStringValue(content)
    fragments = g.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = g.DataElement(g.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = g.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(g.PhotometricInterpretation(g.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(g.TransferSyntax(g.TransferSyntax.JPEGLosslessProcess14))
    image.SetPixelFormat(g.PixelFormat(1, 8 if precision <= 8 else 16, precision, precision - 1, 0))
    found = image.GetBuffer()
    return b"" if found is None else str(found).encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
