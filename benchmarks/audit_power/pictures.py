"""What was planted, to be looked at: a training image, its host, and the leak, for every transform."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from benchmarks.audit_power.worlds import SMALL, source
from synthrelease.audit.planted import TRANSFORMS

COLUMNS, GAP, TEXT = 5, 6, 12


def sheet(name: str = "phantom") -> bytes:
    """A PNG: source, host and leak side by side; for masks the three masks. Of simulated patients only."""
    case = source(name).world(SMALL, 0)
    ours, hosts = case.train.take(np.arange(1, 4)), case.synthetic.take(np.arange(2, 5))
    side = ours.images.shape[-1]
    width, height = 3 * side + GAP, side + TEXT + GAP
    rows = -(-len(TRANSFORMS) // COLUMNS)
    picture = Image.new("L", (COLUMNS * width + GAP, rows * height + GAP), 255)
    pen = ImageDraw.Draw(picture)
    for index, (transform, plant) in enumerate(TRANSFORMS.items()):
        leak = plant(ours, hosts, np.random.default_rng(1))
        if transform.startswith("mask"):
            three = [_grey(2.0 * np.clip(each.masks[0].sum(axis=0), 0, 1) - 1.0) for each in (ours, hosts, leak)]
        else:
            three = [_grey(each.images[0, 0]) for each in (ours, hosts, leak)]
        left, top = GAP + (index % COLUMNS) * width, GAP + (index // COLUMNS) * height
        pen.text((left, top - 2), transform, fill=0)
        picture.paste(Image.fromarray(np.concatenate(three, axis=1)), (left, top + TEXT))
    content = io.BytesIO()
    picture.resize((picture.width * 3 // 2, picture.height * 3 // 2), Image.Resampling.NEAREST).save(
        content, "PNG", optimize=True
    )
    return content.getvalue()


def _grey(image: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint((np.clip(image, -1, 1) + 1) * 127.5), dtype=np.uint8)
