"""Ways of saying how like two images are, all in the form in which the audit compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.uld import global_embedding
from benchmarks.uld.pastes import SEED, World
from synthrelease.audit.comparisons.parts import PartComparison
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.search import Matches, Patients, Sighting
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

CHECK = "local_copies, as audits run it"
WHITENED = "local_copies, whitened windows alone"
SSCD_LIKE = "contrastive network fitted to phantoms, whole image (SSCD-like)"
GLOBAL = (
    "pixels, whole image",
    "EfficientNet-Lite0, whole image",
    "network of phantoms' segments and findings, whole image",
    SSCD_LIKE,
)
PLAIN = "pixel NCC, 11 px windows"
LANDMARK = "landmark ULD"
SHIPPED, UNTRAINED = "local ULD, phantoms (shipped)", "local ULD, untrained"
TO_TRAIN, TO_BOTH = "local ULD, fitted to train", "local ULD, fitted to train + holdout"

STEPS, FEW = 200, 10
"""Of every local network that is fitted here, in full and in quick runs."""

GLOBAL_RECIPES = {False: global_embedding.Recipe(), True: global_embedding.Recipe(phantoms=32, steps=4, batch=16)}
"""By whether the run is a quick one."""


class Whole:
    """Cosine of vectors of whole images."""

    names: tuple[str, ...] = ("whole",)

    def __init__(self, patients: Patients, describe: Callable[[FloatArray], np.ndarray]) -> None:
        real = describe(np.concatenate([patients.train.images, patients.holdout.images]))
        # Standardised by everybody, so that a feature that all share does not hide the others.
        self._mean, self._scale = real.mean(axis=0), real.std(axis=0) + 1e-6
        self._describe, self._gallery = describe, self._unit(real)

    def _unit(self, values: np.ndarray) -> np.ndarray:
        values = (values - self._mean) / self._scale
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        table = self._unit(self._describe(probes.images)) @ self._gallery.T
        yield slice(0, len(probes)), table.clip(0, 1).astype(np.float32)[None]

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """Not asked for."""
        raise NotImplementedError


class Windows:
    """The check's own points and cells, their windows described otherwise; at the images' own resolution."""

    names: tuple[str, ...] = ("single", "agreed")

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


class Whitened(PartComparison):
    """The check without what its pieces agree on through the shipped network."""

    def __init__(self, patients: Patients) -> None:
        super().__init__(patients)
        self._kept = [i for i, name in enumerate(self.names) if not name.startswith("learned")]
        self.names = tuple(self.names[i] for i in self._kept)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for block, tables in super().similarity(probes):
            yield block, tables[self._kept]


def leaning(matches: Mapping[str, Matches]) -> float:
    """Share of clean images more like a training patient than like any of as many strangers; ideal 1/2."""
    first = matches[next(iter(matches))]
    train, other = first.blocks[:, 0], first.decoy
    return float(np.mean((train > other) + 0.5 * (train == other)))


def plain(images: FloatArray) -> Description:
    """Windows as they are: their products are normalised correlations."""
    return lambda found: found.windows


def local(network: LocalNetwork) -> Callable[[FloatArray], Description]:
    """Windows through a local network."""
    return lambda images: network.described


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


def fitted(images: FloatArray, steps: int = STEPS) -> LocalNetwork:
    """A local network fitted to these images, by a short recipe; weights and draws begin alike every time."""
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

    def wholly(patients: Patients) -> Whole:
        return Whole(patients, global_embedding.fitted(GLOBAL_RECIPES[quick]).describe)

    steps = FEW if quick else STEPS
    ours, both = given.train.images, np.concatenate([given.train.images, given.holdout.images])
    found: dict[str, Way] = {
        GLOBAL[0]: lambda patients: Whole(patients, lambda images: at_level(images, COARSE).reshape(len(images), -1)),
        GLOBAL[1]: whole("efficientnet_lite0"),
        GLOBAL[2]: whole("phantom_network"),
        SSCD_LIKE: wholly,
        PLAIN: lambda patients: Windows(patients, plain),
        LANDMARK: lambda patients: Windows(patients, mapped(public_encoder("landmarks"))),
        UNTRAINED: lambda patients: Windows(patients, local(untrained())),
        SHIPPED: lambda patients: Windows(patients, local(shipped())),
        TO_TRAIN: lambda patients: Windows(patients, local(fitted(ours, steps))),
        TO_BOTH: lambda patients: Windows(patients, local(fitted(both, steps))),
        WHITENED: Whitened,
        CHECK: PartComparison,
    }
    if given.side > COARSE.resolution:
        # What the fit of an audit model does to its verdicts is measured at 64 px.
        found = {name: way for name, way in found.items() if name not in (LANDMARK, UNTRAINED, TO_TRAIN, TO_BOTH)}
    if quick:
        return {name: found[name] for name in (GLOBAL[0], SSCD_LIKE, SHIPPED, CHECK)}
    return found


def shipped() -> LocalNetwork:
    """The network that ships."""
    network = public_encoder("copies").network
    assert isinstance(network, LocalNetwork)
    return network
