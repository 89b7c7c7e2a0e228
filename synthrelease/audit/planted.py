"""Known leaks: training images copied, changed and planted, so that an audit measures what it can see.

A check that finds nothing is worth what it would have found. The plants stand in a copy; the archive is untouched.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from synthrelease.audit.images import ImageSet, IntArray
from synthrelease.audit.plants import geometry, grey, innocent, parts, rows
from synthrelease.audit.plants.grey import Change
from synthrelease.audit.plants.parts import Plant

PLANT_SEED = 20260103
"""The plants are the same in every audit of one case; only their recall is of interest."""

PLANTS = 60
"""Plants of each transform: 59 found of 59 is the least that shows a recall of 95 % at 95 % confidence."""

CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "exact": grey.exact,
        "noise_2_percent": grey.noise(2),
        "noise_5_percent": grey.noise(5),
        "requantise_5_bit": grey.requantise(5),
        "jpeg_q30": grey.jpeg(30),
        "gamma": grey.gamma,
        "gain": grey.gain,
        "inversion": grey.inversion,
        "blur": grey.blur,
        "hflip": geometry.hflip,
        "rot90": geometry.rot90,
        "shift_1": geometry.shift(1),
        "shift_2": geometry.shift(2),
        "shift_4": geometry.shift(4),
        "shift_8": geometry.shift(8),
        "rotate_5": geometry.rotate(5),
        "zoom": geometry.zoom,
        "elastic": geometry.elastic,
        "composite": geometry.chain(geometry.hflip, geometry.shift(3), grey.gain),
        "perspective": geometry.perspective,
        "sharpen": grey.sharpen,
        "vignette": grey.vignette,
        "salt_and_pepper": grey.salt_and_pepper,
    }
)
"""Changes of a whole image. Nothing was ever tuned on the last four."""

TRANSFORMS: Mapping[str, Plant] = MappingProxyType(
    {name: parts.whole(change) for name, change in CHANGES.items()}
    | {
        "patch_in_place": parts.patch(),
        "patch_moved": parts.patch(moved=True),
        "patch_mirrored": parts.patch(mirrored=True),
        "patch_gain": parts.patch(grey.gain),
        "half_image": parts.half_image,
        "mix_70": parts.mix(0.7),
        "mix_50": parts.mix(0.5),
        "average_of_2": parts.average_of_2,
        "mask_exact": rows.mask(grey.exact),
        "mask_flip": rows.mask(geometry.hflip),
        "mask_shift": rows.mask(rows.move),
        "mask_dilated": rows.mask(rows.dilate),
        "label_row": rows.label_row,
    }
)
"""Every known leak, by name. Noise in per cent of the grey range, lengths in pixels of an image of 64 on a side."""

NEGATIVES: Mapping[str, Change] = MappingProxyType(
    {
        "blurred": grey.blur,
        "noisy": grey.noise(5),
        "grey_changed": grey.gain,
        "collapsed": innocent.collapsed,
        "washed_out": innocent.washed_out,
        "inverted": grey.inversion,
        "edges": innocent.edges,
    }
)
"""Styles of an innocent archive (applied to all of its images), which must raise no alarm."""


def one_of_each_patient(patient: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Up to ``count`` images of different patients: their positions in ``patient`` (N,)."""
    order = rng.permutation(len(patient))
    _, first = np.unique(patient[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:count], dtype=np.int64)


def planted(transform: str, train: ImageSet, hosts: ImageSet, count: int) -> ImageSet:
    """Known leaks of one kind, the same in every audit of one case.

    Args:
        transform: A name in TRANSFORMS. train: Real images. hosts: Synthetic images. count: At most so many.

    Returns:
        Leaks of up to ``count`` different patients.
    """
    rng = _stream(transform)
    source = train.take(one_of_each_patient(train.patient, count, rng))
    return TRANSFORMS[transform](source, hosts.take(rng.permutation(len(source)) % len(hosts)), rng)


def leaked_rows(transform: str, train: ImageSet, count: int) -> IntArray:
    """Positions in ``train`` of the images that :func:`planted` leaks, leak by leak."""
    return one_of_each_patient(train.patient, count, _stream(transform))


def _stream(transform: str) -> np.random.Generator:
    return np.random.default_rng([PLANT_SEED, zlib.crc32(transform.encode())])


def replace_share(
    synthetic: ImageSet, train: ImageSet, transform: str, count: int, rng: np.random.Generator
) -> ImageSet:
    """The synthetic images with ``count`` of them replaced by leaks of different training patients.

    Args:
        synthetic: M images. train: Real images. transform: A name in TRANSFORMS.
        count: How many to replace, at most M and at most the number of patients.
        rng: Chooses patients, places and parameters.

    Raises:
        ValueError: There are not that many patients or synthetic images.
    """
    source = one_of_each_patient(train.patient, count, rng)
    if len(source) < count or count > len(synthetic):
        raise ValueError("not enough patients or synthetic images to plant that many copies")
    places = rng.permutation(len(synthetic))[:count]
    leaks = TRANSFORMS[transform](train.take(source), synthetic.take(places), rng)
    images, masks, labels = synthetic.images.copy(), synthetic.masks.copy(), synthetic.labels.copy()
    images[places], masks[places], labels[places] = leaks.images, leaks.masks, leaks.labels
    has_mask = synthetic.has_mask.copy()
    has_mask[places] = leaks.has_mask
    attributes = {name: values.astype(object) for name, values in synthetic.attributes.items()}
    for name, values in attributes.items():
        values[places] = leaks.attributes[name]
    # What stands at a planted place is no longer the file whose digest was taken.
    fresh = set(places.tolist())
    return replace(
        synthetic,
        images=images,
        masks=masks,
        labels=labels,
        has_mask=has_mask,
        digests=tuple("" if i in fresh else digest for i, digest in enumerate(synthetic.digests)),
        attributes={name: values.astype(np.str_) for name, values in attributes.items()},
    )


def withheld_scans(train: ImageSet, count: int, rng: np.random.Generator) -> tuple[ImageSet, ImageSet]:
    """A leak that no change of pixels makes: another image of a patient who was trained on.

    Args:
        train: Real images. count: At most so many patients. rng: Chooses them.

    Returns:
        The training images without the withheld ones, and one withheld image of each of up to ``count`` patients who
        have another that stays; empty where nobody has two.
    """
    _, number, images = np.unique(train.patient, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(images[number] > 1)
    withheld = repeated[one_of_each_patient(train.patient[repeated], count, rng)]
    stays = np.ones(len(train), dtype=np.bool_)
    stays[withheld] = False
    return train.take(stays), train.take(withheld)
