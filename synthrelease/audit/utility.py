"""Networks trained on real and on synthetic images, each once, for every check that asks what they do elsewhere.

The seeds are fixed, so that neither the order of the checks nor a second try changes what was trained.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.networks import fit_classifier, fit_segmenter
from synthrelease.features.extractors.preprocessing import resized

Array = npt.NDArray[np.float64]

LABEL_STEPS = 200
MASK_STEPS = 160
SEEDS = (11, 12, 13)
"""Of the classifiers; their probabilities are averaged, since one small network is a matter of luck."""

SIDE = 64
"""Pixels on a side that the networks see; larger images are resampled, the same for all roles."""

FEWEST = 5
"""Images of a class, and of all others, from which its AUROC is worth computing."""


class Utility:
    """What networks that were trained on one role say of another.

    Args:
        train, holdout, synthetic: The roles. classes: How many classes there are.

    Attributes:
        holdout, synthetic: As above, at the resolution of the networks.
        masked_holdout, masked_synthetic: Those images that have masks.
    """

    def __init__(self, train: ImageSet, holdout: ImageSet, synthetic: ImageSet, classes: int) -> None:
        self.train, self.holdout, self.synthetic = (_at_side(images) for images in (train, holdout, synthetic))
        self.masked_train, self.masked_holdout, self.masked_synthetic = (
            images.take(images.has_mask) for images in (self.train, self.holdout, self.synthetic)
        )
        self.classes = classes

    def testable(self, images: ImageSet) -> list[int]:
        """Classes with enough images in and out of them."""
        counts = np.bincount(images.labels, minlength=self.classes)
        return [c for c in range(self.classes) if FEWEST <= counts[c] <= len(images) - FEWEST]

    @cached_property
    def _real_labels(self) -> tuple[Array, Array]:
        on_holdout, on_synthetic = self._labelled(self.train, self.holdout.images, self.synthetic.images)
        return on_holdout, on_synthetic

    @property
    def real_on_holdout(self) -> Array:
        """(N, C) class probabilities of holdout images from classifiers trained on real ones."""
        return self._real_labels[0]

    @property
    def real_on_synthetic(self) -> Array:
        """(M, C) likewise, of synthetic images."""
        return self._real_labels[1]

    @cached_property
    def synthetic_on_holdout(self) -> Array:
        """(N, C) of holdout images from classifiers trained on synthetic ones."""
        return self._labelled(self.synthetic, self.holdout.images)[0]

    @cached_property
    def noise_on_holdout(self) -> Array:
        """(N, C) of holdout images from a classifier trained on noise under the synthetic labels."""
        rng = np.random.default_rng(SEEDS[0])
        noise = rng.normal(0.0, 0.5, self.synthetic.images.shape).clip(-1, 1).astype(np.float32)
        classify = fit_classifier(noise, self.synthetic.labels, self.classes, steps=LABEL_STEPS // 4, seed=SEEDS[0])
        return classify(self.holdout.images)

    @cached_property
    def _real_masks(self) -> tuple[FloatArray, FloatArray]:
        segment = fit_segmenter(self.masked_train.images, self.masked_train.masks, steps=MASK_STEPS, seed=SEEDS[0])
        return segment(self.masked_holdout.images), segment(self.masked_synthetic.images)

    @property
    def real_masks_on_holdout(self) -> FloatArray:
        """(N, K, H, W) coverage in holdout images from a segmenter trained on real ones."""
        return self._real_masks[0]

    @property
    def real_masks_on_synthetic(self) -> FloatArray:
        """(M, K, H, W) likewise, in synthetic images."""
        return self._real_masks[1]

    @cached_property
    def synthetic_masks_on_holdout(self) -> FloatArray:
        """(N, K, H, W) coverage in holdout images from a segmenter trained on synthetic ones."""
        source = self.masked_synthetic
        return fit_segmenter(source.images, source.masks, steps=MASK_STEPS, seed=SEEDS[1])(self.masked_holdout.images)

    def _labelled(self, source: ImageSet, *tests: FloatArray) -> list[Array]:
        networks = [
            fit_classifier(source.images, source.labels, self.classes, steps=LABEL_STEPS, seed=seed) for seed in SEEDS
        ]
        return [np.asarray(np.mean([classify(test) for classify in networks], axis=0)) for test in tests]


def _at_side(images: ImageSet) -> ImageSet:
    """The images and masks with at most 64 pixels on a side."""
    if max(images.images.shape[-2:]) <= SIDE:
        return images
    pixels, masks = (
        resized(torch.from_numpy(np.ascontiguousarray(part)), SIDE).numpy() for part in (images.images, images.masks)
    )
    return ImageSet(
        pixels,
        masks,
        images.labels,
        images.patient,
        has_mask=images.has_mask,
        rows=images.rows,
        attributes=images.attributes,
    )
