"""Shape-guided segmentation: cluster 0 of the clustering head becomes what a few drawn outlines look like.

Nobody shows the network a mask of one of its images. It is told by outlines of other origin alone:

1. Anchoring. r_0 learns the outlines' mean, laid into every image at one place and posed along with it. The image's own
   frame is hidden, so that what tells the pose is the body: the answer moves to where the body lies.
2. Guiding. A discriminator compares r_0 with varied outlines; r_0 must look like one of them, move along with the image
   it is of, and stay one region among the K (the losses of stage 2).

       L = w_a BCE(r_0, mean outline) + w_s BCE(D(r_0), 1) + w_m |r(view) - view of r|² + w_r L_ld + w_e L_ent + w_p L_pd

The published form is step 2 alone. At 64 px and a few hundred steps its discriminator wins at once, because shares
start near 1 / K everywhere; step 1 is ours and gives it something to judge.

Source: Chen et al., arXiv 2108.09440, and the authors' public code, whose LeakyReLU(True) has slope one and is no
non-linearity; here it has slope 0.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.errors import UnsuitableData
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.uld import losses, networks, views
from synthrelease.features.uld.averaging import pool, sliding, to_grid
from synthrelease.features.uld.fitting import KEEP_EVERY_S, SHOW_EVERY, seeded
from synthrelease.features.uld.networks import SMALLEST_SIDE, EmbeddingNetwork
from synthrelease.features.uld.shapes import ShapeRange, vary
from synthrelease.features.uld.sources import Source, one_image_each, rows_by_patient, source_digest
from synthrelease.features.uld.state import State
from synthrelease.records.digests import digest_of
from synthrelease.records.files import canonical_json
from synthrelease.records.progress import Progress, Silent

FloatArray = npt.NDArray[np.float32]
BATCH = 32
SLOPE = 0.2
"""Of LeakyReLU below zero."""

TRANSFER_WINDOW, TRANSFER_TEMPERATURE = 5, 0.03
"""Pixels averaged before a mask is transferred, and the similarity that counts as one unit."""


class ShapeDiscriminator(nn.Module):
    """Maps to one logit each: high where a map looks like a drawn outline.

    Blocks of a convolution, LeakyReLU(0.2) and pooling until 4 to 7 pixels are left, a valid convolution, the mean over
    what is left, two convolutions of one pixel.

    Args:
        side: Pixels on a side of the maps, at least 16.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        blocks = max(1, int(side).bit_length() - 3)
        widths = (1, 16, *(32,) * (blocks - 1))
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(widths[-1], 32, 3), nn.LeakyReLU(SLOPE), nn.AdaptiveAvgPool2d(1)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(32, 32, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(32, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, 1, side, side) in [0, 1] to (N,)."""
        return torch.flatten(self.layers(maps))


@dataclass(frozen=True)
class ShapeRecipe:
    """How to fit a segmentation to images and outlines.

    Attributes:
        side: Pixels to which images and outlines are resampled.
        clusters: K; cluster 0 is the outlined thing. cells: Of the patch loss, per axis.
        anchor_steps: Of the first part. steps: Of the second. batch: Images a step.
        learning_rate: Of the network; falls to a third and a tenth towards the end of each part.
        discriminator_rate: Of the discriminator.
        anchor: Weight of the mean outline in the second part; it is 1 in the first.
        adversarial, moving, region, entropy, patch: Weights of the other losses in the second part.
        affine: How far views differ in place. grey: In grey. outline: How outlines are varied.
        frame: Largest share of a side that is hidden from the frame inwards.
        seed: Of everything.
        version: Of the meaning of this record.

    Raises:
        ValueError: On values that cannot be fitted by.
    """

    side: int = 32
    clusters: int = 8
    cells: int = 8
    anchor_steps: int = 250
    steps: int = 300
    batch: int = 8
    learning_rate: float = 3e-3
    discriminator_rate: float = 3e-4
    anchor: float = 0.2
    adversarial: float = 0.1
    moving: float = 1.0
    region: float = 0.3
    entropy: float = 0.1
    patch: float = 0.1
    affine: views.AffineRange = field(
        default_factory=lambda: views.AffineRange(degrees=20.0, shift=0.12, scale=(0.85, 1.18))
    )
    grey: views.GreyRange = field(default_factory=views.GreyRange)
    outline: ShapeRange = field(default_factory=ShapeRange)
    frame: float = 0.15
    seed: int = 20_281
    version: int = 1

    def __post_init__(self) -> None:
        if self.side < SMALLEST_SIDE or self.clusters < 2 or self.batch < 2 or self.cells < 2:
            raise ValueError(f"side is at least {SMALLEST_SIDE}; clusters, cells and images a step at least 2")
        if min(self.anchor_steps, self.steps) < 0 or not 0 <= self.frame < 0.5:
            raise ValueError("steps are at least 0, and less than half of a side can be hidden")

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        record: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return record


def fit_shapes(
    source: Source,
    shapes: FloatArray,
    recipe: ShapeRecipe,
    *,
    start: EmbeddingNetwork | None = None,
    state: Path | None = None,
    progress: Progress | None = None,
) -> EmbeddingNetwork:
    """Fit a network whose cluster 0 segments what the outlines show.

    Args:
        source: At least two images, without masks.
        shapes: (S, 1, h, w) in [0, 1], outlines of any origin but the images' own.
        recipe: See there.
        start: Network whose weights are begun with; clusters as in the recipe. None: random ones.
        state: File to go on from and to keep the state in, as in `fitting.fit`; as private as the images.
        progress: Told parts, steps, losses and the area of cluster 0.

    Returns:
        The network, in evaluation mode.

    Raises:
        UnsuitableData: Fewer than two images, or pixels that are not finite.
        ValueError: Outlines of another form.
        IntegrityError: ``state`` is damaged or belongs to another fit.
    """
    if len(source) < 2:
        raise UnsuitableData(f"a segmentation cannot be fitted to {len(source)} images", fix="Give it at least two.")
    if shapes.ndim != 4 or shapes.shape[1] != 1 or not len(shapes) or shapes.min() < 0 or shapes.max() > 1:
        raise ValueError(f"outlines are (S, 1, h, w) in [0, 1], not {shapes.shape}")
    run = _Fit(source, shapes, recipe, start, state, progress or Silent())
    run.go()
    return run.network.eval()


class _Fit:
    """A fit under way."""

    def __init__(
        self,
        source: Source,
        shapes: FloatArray,
        recipe: ShapeRecipe,
        start: EmbeddingNetwork | None,
        state: Path | None,
        progress: Progress,
    ) -> None:
        self._source, self._recipe, self._progress = source, recipe, progress
        self._people = rows_by_patient(source.patient)
        self._shapes = resized(torch.from_numpy(np.ascontiguousarray(shapes, dtype=np.float32)), recipe.side).clamp(
            0, 1
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = networks.small(recipe.clusters)
            self._judge = ShapeDiscriminator(recipe.side)
        begun = "random"
        if start is not None:
            self.network.load_state_dict(start.state_dict())
            begun = digest_of([float(value.double().sum()) for value in start.state_dict().values()])
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self._judges = torch.optim.Adam(self._judge.parameters(), lr=recipe.discriminator_rate, betas=(0.5, 0.99))
        identity = {
            "recipe": recipe.digest,
            "set of images": source_digest(source),
            "set of outlines": digest_of(np.asarray(self._shapes).round(4).tolist()),
            "start": begun,
            "version of torch": torch.__version__,
        }
        self._state = State(state, identity, KEEP_EVERY_S)
        self._parts = {"network": self.network, "judge": self._judge}
        self._optimisers = {"adam": self._optimiser, "judges": self._judges}
        self._done = self._state.restore(self._parts, self._optimisers)

    def go(self) -> None:
        """Run both parts, or what is left of them."""
        recipe, first = self._recipe, 0
        self.network.train()
        for name, steps, guided in (("anchoring", recipe.anchor_steps, False), ("guiding", recipe.steps, True)):
            if self._done < first + steps:
                self._progress.stage(name, steps)
            for step in range(self._done - first, steps):
                rate = recipe.learning_rate * _cooling(step / steps)
                for group in self._optimiser.param_groups:
                    group["lr"] = rate
                facts = self._step(first + step, guided=guided, shown=step % SHOW_EVERY == 0 or step == steps - 1)
                self._done = first + step + 1
                self._progress.step(step + 1, facts)
                self._state.keep(self._done, self._parts, self._optimisers, last=step == steps - 1)
            first += steps

    def _step(self, step: int, *, guided: bool, shown: bool) -> str:
        recipe, count = self._recipe, self._recipe.batch
        generator = seeded(recipe.seed, 2, step)
        images = self._batch(generator)
        theta = views.draw_affine(count, recipe.affine, generator)
        still = torch.eye(2, 3).expand(count, -1, -1)
        both = torch.cat([_framed(images, pose, recipe.frame, generator) for pose in (still, theta)])
        embedding, shares = self.network.assign(views.grey_change(both, recipe.grey, generator))
        seen = ~views.filled(theta, recipe.side, recipe.side)
        outline = self._shapes.mean(dim=0, keepdim=True).expand(count, -1, -1, -1)
        wanted = torch.cat([outline, views.warp(outline, theta)])
        counts = torch.cat([torch.ones_like(seen), seen])
        found = shares[:, :1].clamp(1e-4, 1.0 - 1e-4)
        anchor = (functional.binary_cross_entropy(found, wanted, reduction="none") * counts).mean()
        loss = (
            anchor if not guided else recipe.anchor * anchor + self._guidance(embedding, shares, theta, seen, generator)
        )
        if not bool(torch.isfinite(loss)):
            raise UnsuitableData(f"the loss of step {step} is not finite", fix="Lower the learning rate.")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return f"loss {float(loss.detach()):.3f}, area {float(shares[:, 0].detach().mean()):.3f}" if shown else ""

    def _guidance(
        self, embedding: Tensor, shares: Tensor, theta: Tensor, seen: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Losses of the second part; the discriminator takes its step first."""
        recipe, count = self._recipe, self._recipe.batch
        fake = shares[:count, :1]
        real = vary(self._shapes, recipe.outline, count, generator)
        on_real, on_fake = self._judge(real), self._judge(fake.detach())
        judged = functional.softplus(-on_real).mean() + functional.softplus(on_fake).mean()
        self._judges.zero_grad(set_to_none=True)
        judged.backward()  # type: ignore[no-untyped-call]
        self._judges.step()
        total = recipe.adversarial * functional.softplus(-self._judge(fake)).mean()
        apart = (shares[count:] - views.warp(shares[:count], theta)) ** 2 * seen
        total = total + recipe.moving * apart.sum(dim=1).mean()
        total = total + recipe.region * losses.region_discrimination(embedding, shares)
        total = total + recipe.entropy * losses.assignment_entropy(shares)
        if recipe.patch:
            back, reached = views.unwarp(embedding[count:], theta)
            kept = pool(reached.float(), recipe.cells, centre_sensitive=False).flatten() > 0.5
            a, b = (to_grid(x * reached, recipe.cells).flatten(0, 2)[kept] for x in (embedding[:count], back))
            image = torch.arange(count).repeat_interleave(recipe.cells**2)[kept]
            total = total + recipe.patch * losses.patch_discrimination(a, b, groups=image)
        return total

    def _batch(self, generator: torch.Generator) -> Tensor:
        """Images of people drawn at random, one each."""
        people = torch.randint(len(self._people), (self._recipe.batch,), generator=generator).tolist()
        images = one_image_each(self._source, self._people, people, generator)
        if not bool(torch.isfinite(images).all()):
            raise UnsuitableData(
                "pixels of some images are not finite", fix="Leave those images out, or write them again."
            )
        return resized(images, self._recipe.side)


def segment(
    network: EmbeddingNetwork,
    images: FloatArray,
    *,
    side: int | None = None,
    readout: Literal["shares", "regions"] = "shares",
) -> FloatArray:
    """How much of each pixel belongs to what the outlines showed.

    Args:
        network: From `fit_shapes`. images: (N, 1, H, W) in [-1, 1].
        side: Pixels that the network was fitted to; images are resampled to it and answers back. None: as they come.
        readout: ``shares``: r_0. ``regions``: softmax over k of c_k . v(x) / T at k = 0, c_k of the image itself.

    Returns:
        (N, H, W) float32 in [0, 1]; above 0.5 it belongs.
    """
    parts = [np.zeros((0, *images.shape[-2:]), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            block = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH], dtype=np.float32))
            embedding, shares = network.assign(block if side is None else resized(block, side))
            if readout == "regions":
                regions = losses.region_embeddings(embedding, shares)
                likeness = torch.einsum("nkd,ndhw->nkhw", regions, embedding)
                shares = (likeness / losses.REGION_TEMPERATURE).softmax(dim=1)
            if side is not None:
                size = images.shape[-2:]
                shares = functional.interpolate(shares[:, :1], size=size, mode="bilinear", align_corners=False)
            parts.append(shares[:, 0].numpy())
    return np.concatenate(parts)


def transfer(
    embed: Callable[[FloatArray], FloatArray],
    support_image: FloatArray,
    support_mask: npt.NDArray[np.bool_],
    images: FloatArray,
    *,
    window: int = TRANSFER_WINDOW,
    temperature: float = TRANSFER_TEMPERATURE,
) -> FloatArray:
    """One-shot mask transfer: a pixel belongs as much as the support's pixels that are like it.

        p(x) = sum_y softmax_y( v'(x) . v'_support(y) / T ) mask(y)

    Args:
        embed: (N, 1, H, W) to (N, D, H, W) unit vectors per pixel.
        support_image: (1, H, W) or (1, 1, H, W). support_mask: (H, W). images: (N, 1, H, W) in [-1, 1].
        window: Pixels averaged around each pixel, centre-sensitive. temperature: T.

    Returns:
        (N, H, W) float32 in [0, 1].
    """
    shown = support_image.reshape(1, 1, *support_image.shape[-2:])
    if support_mask.shape != shown.shape[-2:]:
        raise ValueError(f"the mask is {support_mask.shape}, its image {shown.shape[-2:]}")
    known = sliding(torch.from_numpy(embed(shown)), window)[0].flatten(1)
    mask = torch.from_numpy(np.ascontiguousarray(support_mask)).flatten().float()
    parts = [np.zeros((0, *images.shape[-2:]), np.float32)]
    for image in images:
        asked = sliding(torch.from_numpy(embed(image[None])), window)[0].flatten(1)
        share = (asked.T @ known / temperature).softmax(dim=1) @ mask
        parts.append(share.view(1, *images.shape[-2:]).numpy())
    return np.concatenate(parts)


def _framed(images: Tensor, theta: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Views in which the image ends early, at random on each side, and its border is repeated from there.

    What lies beyond tells of the frame, not of the body: without this the seam would give the pose away.
    """
    if not share:
        return views.warp(images, theta)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    low, high = (2.0 * share * torch.rand(len(images), 1, 1, 2, generator=generator) for _ in range(2))
    grid = torch.minimum(torch.maximum(grid, low - 1.0), 1.0 - high)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _cooling(done: float) -> float:
    """Factor of the learning rate after a share of the steps."""
    return 1.0 if done < 0.6 else 0.3 if done < 0.85 else 0.1
