"""A picture of what content and style do: every content under every style, as a checkpoint paints them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from synthrelease.errors import UsageError
from synthrelease.generators.protocol import Generator, Styled
from synthrelease.policy.schema import Policy
from synthrelease.records.files import atomic_write_bytes
from synthrelease.records.runs import Run

CONTENTS = 2
"""Rows of each class."""
MOST_STYLES = 10
"""Columns of the picture that is made with an archive."""
SMALLEST = 64
"""Pixels that an image's side has in the picture, at least."""
GAP = 2


def write_grid(generator: Generator, run: Run, policy: Policy, styles: int) -> dict[str, Any]:
    """Paint the grid of a trained run into ``style-grid.png``: rows of one content, columns of one style.

    Args:
        generator: Of the run.
        run: Trained.
        policy: Its policy.
        styles: Columns. Those that the policy asks for come first.

    Returns:
        path, styles, and rows: the class of each row.

    Raises:
        UsageError: The generator has no style of its own.
    """
    if not isinstance(generator, Styled):
        raise UsageError(
            f"run '{run.name}': generator '{policy.generator.name}' draws no style apart from the content",
            fix="Train a policy with `generator: {name: drai}`, or sample without --style-grid.",
        )
    classes = policy.cohort.classes
    labels = torch.arange(len(classes)).repeat_interleave(CONTENTS)
    rng = torch.Generator().manual_seed(policy.archive.seed)
    with torch.inference_mode():
        images = generator.sample_grid(labels, styles, rng).images[:, 0].numpy()
    side = images.shape[-1]
    content = io.BytesIO()
    picture = tiled(images.reshape(len(labels), styles, side, side))
    Image.fromarray(picture).save(content, format="PNG", optimize=True)
    atomic_write_bytes(run.style_grid, content.getvalue())
    return {"path": str(run.style_grid), "styles": styles, "rows": [classes[int(label)] for label in labels]}


def tiled(images: np.ndarray) -> np.ndarray:
    """(R, S, H, W) in [-1, 1] as one 8-bit picture with white gaps; small images are enlarged."""
    rows, columns, height, width = images.shape
    factor = max(1, -(-SMALLEST // max(height, width)))
    grey = np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    large = grey.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=255)
    whole = framed.transpose(0, 2, 1, 3).reshape(rows * framed.shape[2], columns * framed.shape[3])
    return np.asarray(whole[:-GAP, :-GAP])
