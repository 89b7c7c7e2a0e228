"""Ways of saying how like two images are, all in the form in which the audit compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.uld.pastes import SEED, World
from synthrelease.audit.comparisons.parts import PartComparison
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.extractors import ExtractorChoice, ExtractorName
from synthrelease.features.patches import COARSE, FINE, Description, Points, at_level
from synthrelease.features.piece_search import (
    EVIDENCE_CEILING,
    Agreement,
    Pieces,
    like_points,
    likeness,
    usual_evidence,
)
from synthrelease.features.uld.encoder import Encoder
from synthrelease.features.uld.local import LocalNetwork, LocalRecipe, fit_local
from synthrelease.features.uld.public import public_encoder
from synthrelease.features.uld.sources import ArraySource

CHECK = "local_copies (whitened windows)"
BESIDE = "local_copies with the shipped network beside it"
GLOBAL = ("pixels, whole image", "EfficientNet-Lite0, whole image", "phantom network, whole image (SSCD-like)")
PLAIN = "pixel NCC, 11 px windows"
SHIPPED, UNTRAINED = "local ULD, phantoms (shipped)", "local ULD, untrained"


class Whole:
    """Cosine of vectors of whole images."""

    names = ("whole",)

    def __init__(self, patients: Patients, describe: Callable[[FloatArray], np.ndarray]) -> None:
        real = describe(np.concatenate([patients.train.images, patients.holdout.images]))
        # Standardised by everybody, so that a feature that all share does not hide the others.
        self._mean, self._scale = real.mean(axis=0), real.std(axis=0) + 1e-6
        self._describe, self._gallery = describe, self._unit(real)

    def _unit(self, values: np.ndarray) -> np.ndarray:
        values = (values - self._mean) / self._scale
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        table = self._unit(self._describe(probes.images)) @ self._gallery.T
        yield slice(0, len(probes)), table.clip(0, 1).astype(np.float32)[None]

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """Not asked for."""
        raise NotImplementedError


class Windows:
    """The check's own points and cells, their windows described otherwise; at the images' own resolution."""

    names = ("single", "agreed")

    def __init__(self, patients: Patients, describe: Callable[[FloatArray], Description]) -> None:
        images = np.concatenate([patients.train.images, patients.holdout.images])
        self._level = FINE if images.shape[-1] > COARSE.resolution else COARSE
        self._describe, self._patients = describe, patients.count
        self._column = torch.from_numpy(patients.column)
        self._gallery = self._pieces(images)
        # Plain windows of strangers are so alike that only the likest pairs can be kept.
        self._floor = usual_evidence(self._gallery, self._column, EVIDENCE_CEILING)

    def _pieces(self, images: FloatArray) -> Pieces:
        small = at_level(images, self._level)
        return Pieces.of(small, self._level, self._describe(small))

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for start in range(0, len(probes), 256):
            block = slice(start, min(start + 256, len(probes)))
            pairs = like_points(self._pieces(probes.images[block]), self._gallery, self._floor)
            agreement = Agreement.of(pairs, self._gallery)
            yield block, likeness(pairs, agreement, block.stop - start, self._column, self._patients)

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """Not asked for."""
        raise NotImplementedError


class Beside:
    """The check, and beside it at the images' own resolution what the pieces agree on through the shipped network."""

    def __init__(self, patients: Patients) -> None:
        self._check, self._learned = PartComparison(patients), Windows(patients, local(_shipped()))
        self.names = (*self._check.names, "learned")

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        both = zip(self._check.similarity(probes), self._learned.similarity(probes), strict=True)
        for (block, tables), (_, learned) in both:
            # Its single windows are left out: they accused an innocent archive.
            yield block, np.concatenate([tables, learned[1:]])

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """Not asked for."""
        raise NotImplementedError


def plain(images: FloatArray) -> Description:
    """Windows as they are: their products are normalised correlations."""
    return lambda found: found.windows


def local(network: LocalNetwork) -> Callable[[FloatArray], Description]:
    """Windows through a local network."""

    def described(found: Points) -> Tensor:
        with torch.inference_mode():
            blocks = found.windows.view(-1, 11, 11).split(8192)
            return torch.cat([network.describe(block) for block in blocks])

    return lambda images: described


def mapped(encoder: Encoder) -> Callable[[FloatArray], Description]:
    """A dense encoder's vectors at the points; blocks of images come in order, 64 at a time."""

    def of(images: FloatArray) -> Description:
        starts = iter(range(0, len(images), 64))

        def described(found: Points) -> Tensor:
            start = next(starts)
            maps = torch.from_numpy(encoder.embed(images[start : start + 64][:, None]))
            return maps[found.image, :, found.place[:, 0], found.place[:, 1]]

        return described

    return of


def extracted(name: ExtractorName) -> Callable[[FloatArray], np.ndarray]:
    """Features of whole images.

    Raises:
        UnsuitableData: The extractor is not installed.
    """
    extractor = ExtractorChoice(name).open()
    return lambda images: np.asarray(extractor(images))


def fitted(images: FloatArray, steps: int) -> LocalNetwork:
    """A local network fitted to these images, by a short recipe."""
    return fit_local(ArraySource(images), LocalRecipe(side=None, steps=steps))


def untrained() -> LocalNetwork:
    """Weights as drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return LocalNetwork().eval()


Way = Callable[[Patients], Any]


def ways(given: World, *, quick: bool) -> dict[str, Way]:
    """Ways of comparing, by name; each raises UnsuitableData where something is not installed."""

    def whole(name: ExtractorName) -> Way:
        return lambda patients: Whole(patients, extracted(name))

    steps = 10 if quick else 200
    ours, both = given.train.images, np.concatenate([given.train.images, given.holdout.images])
    found: dict[str, Way] = {
        GLOBAL[0]: lambda patients: Whole(patients, lambda images: at_level(images, COARSE).reshape(len(images), -1)),
        GLOBAL[1]: whole("efficientnet_lite0"),
        GLOBAL[2]: whole("phantom_network"),
        PLAIN: lambda patients: Windows(patients, plain),
        "landmark ULD": lambda patients: Windows(patients, mapped(public_encoder("landmarks"))),
        UNTRAINED: lambda patients: Windows(patients, local(untrained())),
        SHIPPED: lambda patients: Windows(patients, local(_shipped())),
        "local ULD, train only (biased)": lambda patients: Windows(patients, local(fitted(ours, steps))),
        "local ULD, train + holdout": lambda patients: Windows(patients, local(fitted(both, steps))),
        CHECK: PartComparison,
    }
    if given.side > COARSE.resolution:
        # What the fit of an audit model does to its verdicts is measured at 64 px.
        fits = ("landmark ULD", UNTRAINED, "local ULD, train only (biased)", "local ULD, train + holdout")
        found = {name: way for name, way in found.items() if name not in fits} | {BESIDE: Beside}
    if quick:
        return {name: found[name] for name in (GLOBAL[0], SHIPPED, CHECK)}
    return found


def _shipped() -> LocalNetwork:
    network = public_encoder("copies").network
    assert isinstance(network, LocalNetwork)
    return network
