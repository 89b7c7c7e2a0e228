"""Leaks that are not in the image: a real patient's mask on a fresh image, a real patient's row of labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import grey_dilation

from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.plants.geometry import shift
from synthrelease.audit.plants.grey import Change, scaled
from synthrelease.audit.plants.parts import Plant


def dilate(masks: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Every segment one pixel larger on all sides."""
    size = 2 * scaled(1, masks.shape[-1]) + 1
    return np.asarray(grey_dilation(masks, (1, 1, size, size)) if masks.size else masks, dtype=np.float32)


move = shift(4)
"""Masks are moved by 4 px on both axes."""


def mask(change: Change) -> Plant:
    """The real patient's masks, changed, on the host's image; with no masks at all the host stays as it is."""

    def plant(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        masks = change(source.masks, rng) if source.masks.shape[1] else host.masks
        return replace(host, masks=masks, has_mask=source.has_mask, digests=())

    return plant


def label_row(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
    """The real patient's label and attributes on the host's image and masks."""
    return replace(host, labels=source.labels, attributes={**host.attributes, **source.attributes})
