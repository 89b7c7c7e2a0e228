"""Arrays as pictures inside of the page: PNG data for pixels, SVG paths for mask outlines."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from synthrelease.report.inputs import FloatArray

_STAMPED_SIZE = 192


def grey(pixels: FloatArray) -> npt.NDArray[np.uint8]:
    """(H, W) in [-1, 1] as 8-bit grey levels; what is not finite is black."""
    levels = np.nan_to_num(np.asarray(pixels, dtype=np.float64), nan=-1.0, posinf=1.0, neginf=-1.0)
    return np.round((np.clip(levels, -1, 1) + 1) * 127.5).astype(np.uint8)


def data_uri(levels: npt.NDArray[np.uint8]) -> str:
    """(H, W) grey or (H, W, 3) colour as a PNG data address."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG", optimize=True)
    return of_png(buffer.getvalue())


def of_png(content: bytes) -> str:
    """A PNG file as a data address."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def picture(pixels: FloatArray) -> str:
    """(H, W) in [-1, 1] as a PNG data address at its own size."""
    return data_uri(grey(pixels))


def stamped(pixels: FloatArray, word: str = "INTERNAL") -> str:
    """As :func:`picture`, enlarged, with a word burnt into the pixels so that it travels with a copied picture."""
    return data_uri(_stamp(np.repeat(grey(pixels)[..., None], 3, axis=2), word))


def difference(a: FloatArray, b: FloatArray, word: str = "INTERNAL") -> str:
    """Where two images (H, W) differ: white = equal, orange to dark = up to the full range; stamped."""
    gap = np.clip(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)) / 2, 0, 1)
    gap = np.nan_to_num(gap, nan=1.0)[..., None]
    ends = np.array([[255, 255, 255], [230, 120, 20], [70, 10, 0]], dtype=np.float64)
    lower = ends[0] + (ends[1] - ends[0]) * np.minimum(gap * 4, 1)
    levels = np.where(gap <= 0.25, lower, ends[1] + (ends[2] - ends[1]) * (gap - 0.25) / 0.75)
    return data_uri(_stamp(np.round(levels).astype(np.uint8), word))


def _stamp(levels: npt.NDArray[np.uint8], word: str) -> npt.NDArray[np.uint8]:
    factor = max(1, -(-_STAMPED_SIZE // max(levels.shape[:2])))
    large = Image.fromarray(levels.repeat(factor, axis=0).repeat(factor, axis=1))
    draw = ImageDraw.Draw(large)
    font = ImageFont.load_default(size=max(10, large.width // 14))
    box = draw.textbbox((0, 0), word, font=font)
    place = (large.width - box[2] - 4, large.height - box[3] - 4)
    draw.rectangle((place[0] - 3, place[1], large.width, large.height), fill=(150, 0, 30))
    draw.text(place, word, font=font, fill=(255, 255, 255))
    return np.asarray(large)


def outline(mask: FloatArray) -> str:
    """The border of a mask (H, W), above one half, as an SVG path along pixel edges in pixel units.

    >>> outline(np.array([[0.0, 1.0]]))
    'M1 0h1M1 1h1M1 0v1M2 0v1'
    """
    inside = np.pad(np.asarray(mask) > 0.5, 1)
    horizontal = inside[1:, 1:-1] != inside[:-1, 1:-1]
    vertical = inside[1:-1, 1:] != inside[1:-1, :-1]
    runs = [f"M{start} {row}h{length}" for row, start, length in _runs(horizontal)]
    runs += [f"M{column} {start}v{length}" for column, start, length in _runs(vertical.T)]
    return "".join(runs)


def _runs(edges: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Line, start and length of every run of True along the last axis."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    lines, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return [(int(line), int(start), int(end - start)) for line, start, end in zip(lines, starts, ends, strict=True)]
