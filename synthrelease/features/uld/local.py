"""The embedding that looks for copies: strictly local, so that a piece says the same wherever it was pasted.

A landmark encoder sees the whole image and gives a pasted lesion the code of its new surroundings; it is blind to
copies. Here a pixel's vector follows from the 11 x 11 window about it and from nothing else:

    v = L2norm( f( (window - mean) / |window - mean| ) )

with f three linear maps and rectifiers in between. Mean and length of the window are taken out first, so that gain and
offset cannot be seen; no statistic of the image or of a batch enters. As convolutions the same weights describe every
pixel (`forward`) or cut windows (`describe`).

It is fitted by patch discrimination in which the same place in *other patients* is what a window must be told from:
what all chests share at a place is no help, what is one patient's own is. The two views differ by what a copy may have
suffered: a few degrees, a few per cent of zoom, a part of a pixel, grey, blur and noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.errors import UnsuitableData
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.patches import LEAST_CONTRAST, REACH, WINDOW, Points
from synthrelease.features.uld import losses, views
from synthrelease.features.uld.fitting import KEEP_EVERY_S, seeded
from synthrelease.features.uld.sources import Source, one_image_each, rows_by_patient, source_digest
from synthrelease.features.uld.state import State
from synthrelease.records.digests import digest_of
from synthrelease.records.progress import Progress, Silent

DIMENSIONS = 64
WIDTHS = (192, 128)
WINDOWS_AT_ONCE = 8192
"""Windows described at a time; their features take some 12 MB."""

LEAST_SIDE = 4 * WINDOW
"""Pixels on a side of the images it is fitted to: room for places whose views stay inside."""


class LocalNetwork(nn.Module):
    """Windows of 11 x 11 pixels to unit vectors; see this module.

    Args:
        widths: Of the two hidden layers. dimensions: D, of the sphere.
    """

    def __init__(self, widths: tuple[int, int] = WIDTHS, dimensions: int = DIMENSIONS) -> None:
        super().__init__()
        first, second = widths
        self.window = nn.Conv2d(1, first, WINDOW)
        self.hidden = nn.Conv2d(first, second, 1)
        self.out = nn.Conv2d(second, dimensions, 1)

    @property
    def settings(self) -> dict[str, Any]:
        """What ``LocalNetwork(**settings)`` needs to be built like this one."""
        return {
            "widths": [self.window.out_channels, self.hidden.out_channels],
            "dimensions": self.out.out_channels,
        }

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, D, H, W) unit vectors; beyond the border it is repeated."""
        return self._read(functional.pad(images, (REACH,) * 4, mode="replicate"))

    def describe(self, windows: Tensor) -> Tensor:
        """(M, 11, 11) windows to (M, D) unit vectors: what `forward` gives at their middles."""
        return self._read(windows[:, None])[:, :, 0, 0]

    def described(self, found: Points) -> Tensor:
        """(K, D) of the windows at K points, without gradient; a `Description` for the search of pieces."""
        with torch.inference_mode():
            blocks = torch.split(found.windows.view(-1, WINDOW, WINDOW), WINDOWS_AT_ONCE)
            return torch.cat([self.describe(block) for block in blocks])

    def _read(self, images: Tensor) -> Tensor:
        kernels = self.window.weight
        kernels = kernels - kernels.mean(dim=(2, 3), keepdim=True)
        mean = functional.avg_pool2d(images, WINDOW, 1)
        square = functional.avg_pool2d(images**2, WINDOW, 1)
        length = WINDOW * (square - mean**2).clamp(min=LEAST_CONTRAST**2).sqrt()
        bias = self.window.bias
        seen = functional.conv2d(images, kernels) / length
        if bias is not None:
            seen = seen + bias[:, None, None]
        return functional.normalize(self.out(functional.relu(self.hidden(functional.relu(seen)))), dim=1)


@dataclass(frozen=True)
class LocalRecipe:
    """How to fit a local network.

    Attributes:
        side: Pixels to which images are resampled; None: as they come.
        steps: Of Adam. batch: Images a step, of as many patients. places: Places a step; each is read in every image.
        learning_rate: At the start; falls to zero along a cosine.
        temperature: T. negatives: ``place``: the same place in other patients; ``all``: every other window.
        degrees, scale, blur: How far the second view is turned, enlarged and blurred (Gaussian, pixels), at most.
        grey: How far grey may differ.
        widths, dimensions: Of the network. seed: Of everything drawn. version: Of the meaning of this record.

    Raises:
        ValueError: On values that cannot be fitted by.
    """

    side: int | None = 64
    steps: int = 800
    batch: int = 64
    places: int = 8
    learning_rate: float = 2e-3
    temperature: float = losses.PATCH_TEMPERATURE
    negatives: Literal["place", "all"] = "place"
    degrees: float = 6.0
    scale: float = 0.08
    blur: float = 0.8
    grey: views.GreyRange = field(default_factory=lambda: views.GreyRange(0.2, 0.1, 0.15, 0.03))
    widths: tuple[int, int] = WIDTHS
    dimensions: int = DIMENSIONS
    seed: int = 20_263
    version: int = 1

    def __post_init__(self) -> None:
        if self.batch < 2 or self.places < 1 or self.steps < 0:
            raise ValueError("a local network needs two images and a place a step")
        if self.side is not None and self.side < LEAST_SIDE:
            raise ValueError(f"side is {self.side}; places need {LEAST_SIDE}")

    def to_json(self) -> dict[str, Any]:
        """For the record that travels with the weights."""
        return asdict(self) | {"widths": list(self.widths)}


PUBLIC_RECIPE = LocalRecipe()
"""What the shipped network was fitted by, to phantoms alone."""


def fit_local(
    source: Source, recipe: LocalRecipe, *, state: Path | None = None, progress: Progress | None = None
) -> LocalNetwork:
    """Fit a local network.

    Args:
        source: Images of at least two patients. recipe: See there.
        state: File to go on from when it is there, and to keep the state in every 20 seconds; as private as the images.
        progress: Told steps and losses.

    Returns:
        The network, in evaluation mode; the same bit for bit whether or not the fit was killed in between.

    Raises:
        UnsuitableData: Fewer than two patients, or images that are too small.
        IntegrityError: ``state`` is damaged or belongs to another fit.
    """
    patients, first = np.unique(source.patient, return_index=True)
    if len(patients) < 2:
        raise UnsuitableData("one patient cannot be told from others", fix="Give it images of at least two.")
    if min(source.take(first[:1]).shape[-2:]) < LEAST_SIDE:
        raise UnsuitableData(f"images below {LEAST_SIDE} pixels are too small for places", fix="Give it larger images.")
    progress = progress or Silent()
    run = _Fit(source, recipe, state)
    progress.stage("local patch discrimination", recipe.steps)
    for step in range(run.done, recipe.steps):
        loss = run.step(step)
        progress.step(step + 1, f"loss {loss:.3f}" if step % 10 == 0 or step == recipe.steps - 1 else "")
        run.keep(step + 1)
    return run.network.eval()


class _Fit:
    """A fit under way."""

    def __init__(self, source: Source, recipe: LocalRecipe, state: Path | None) -> None:
        self._source, self._recipe = source, recipe
        self._people = rows_by_patient(source.patient)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = LocalNetwork(recipe.widths, recipe.dimensions)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        identity = {
            "recipe": digest_of(recipe.to_json()),
            "set of images": source_digest(source),
            "version of torch": torch.__version__,
        }
        self._state = State(state, identity, KEEP_EVERY_S)
        self.done = self._state.restore({"network": self.network}, {"adam": self._optimiser})

    def step(self, step: int) -> float:
        """One step of Adam; everything drawn follows from the seed and the step's number."""
        recipe, generator = self._recipe, seeded(self._recipe.seed, 0, step)
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1.0 + np.cos(np.pi * step / recipe.steps))
        images = self._batch(generator)
        here, there, place = pairs(images, recipe, generator)
        if not len(here):
            return 0.0
        groups = place if recipe.negatives == "place" else None
        a, b = self.network.describe(here), self.network.describe(there)
        loss = losses.patch_discrimination(a, b, recipe.temperature, groups)
        if not bool(torch.isfinite(loss)):
            raise UnsuitableData(f"the loss of step {step} is not finite", fix="Look for pixels that are not numbers.")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(loss.detach())

    def _batch(self, generator: torch.Generator) -> Tensor:
        """One image each of different patients."""
        chosen = torch.randperm(len(self._people), generator=generator)[: self._recipe.batch]
        images = one_image_each(self._source, self._people, chosen.tolist(), generator)
        return images if self._recipe.side is None else resized(images, self._recipe.side)

    def keep(self, done: int) -> None:
        """Put the state on disk now and then, and at the end."""
        last = done == self._recipe.steps
        self._state.keep(done, {"network": self.network}, {"adam": self._optimiser}, last=last)


def pairs(images: Tensor, recipe: LocalRecipe, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of images and of altered views of them.

    Args:
        images: (N, 1, H, W).

    Returns:
        (M, 11, 11) windows, (M, 11, 11) of the same content in the view, to the nearest pixel, and (M,) the number of
        the place; flat windows are left out, for they are nobody's.
    """
    count, (height, width) = len(images), images.shape[-2:]
    span = views.AffineRange(recipe.degrees, 0.5 / min(height, width), (1.0 - recipe.scale, 1.0 + recipe.scale))
    theta = views.draw_affine(count, span, generator, width / height)
    altered = views.grey_change(_blurred(views.warp(images, theta), recipe.blur, generator), recipe.grey, generator)

    # Places leave room for the window and for what the view moves it by at most.
    share = 1.0 - 2.0 * (REACH + 1.0) / min(height, width)
    share *= (1.0 - recipe.scale) / (1.0 + np.deg2rad(recipe.degrees)) - 1.0 / min(height, width)
    at = (2.0 * torch.rand(recipe.places, 2, generator=generator) - 1.0) * share
    size = torch.tensor([width, height], dtype=torch.float32)
    pixel = ((at + 1.0) * size / 2.0 - 0.5).round()
    at = (2.0 * pixel + 1.0) / size - 1.0
    back = views.inverse(theta)
    there = torch.einsum("nij,pj->npi", back[:, :, :2], at) + back[:, None, :, 2]
    moved = ((there + 1.0) * size / 2.0 - 0.5).round()
    moved = torch.minimum(moved.clamp(min=REACH), size - 1.0 - REACH)

    here = _windows(images, pixel[None].expand(count, -1, -1))
    seen = _windows(altered, moved)
    place = torch.arange(recipe.places).expand(count, -1)
    clear = (here.flatten(2).std(dim=2) > LEAST_CONTRAST) & (seen.flatten(2).std(dim=2) > LEAST_CONTRAST)
    return here[clear], seen[clear], place[clear]


def _windows(images: Tensor, middle: Tensor) -> Tensor:
    """(N, 1, H, W) images and (N, P, 2) columns and rows to (N, P, 11, 11)."""
    height, width = images.shape[-2:]
    offset = torch.arange(WINDOW)[:, None] * width + torch.arange(WINDOW)
    column, row = middle.long().unbind(dim=-1)
    corner = torch.arange(len(images))[:, None] * height * width + (row - REACH) * width + column - REACH
    return images.reshape(-1)[corner[..., None, None] + offset]


def _blurred(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Each image by a Gaussian of its own, of up to ``most`` pixels; every other one stays sharp."""
    sigma = most * torch.rand(len(images), generator=generator) * (torch.rand(len(images), generator=generator) < 0.5)
    axis = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-0.5 * (axis / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    flat = functional.pad(images.transpose(0, 1), (3, 3, 3, 3), mode="replicate")
    rows = functional.conv2d(flat, kernel[:, None, :, None], groups=len(images))
    return functional.conv2d(rows, kernel[:, None, None, :], groups=len(images)).transpose(0, 1)
