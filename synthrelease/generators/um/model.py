"""Image and masks together, guided by a map of superpixels; and the maps themselves, from noise.

    V -> UM     mapper: noise z, class t -> picture -> its superpixels, mean levels, floored           (guidance: generated)
    UM -> I     painter: map, edges, t -> image and masks

Painter and critics learn from maps of the training images. At sampling no map of a real image is used: it would be the image,
nearly, and lead back to its patient. Maps come from the mapper, from no data at all, or from public images; only without a
privacy claim, and warned about, from patients who were set apart for it.

Patients without masks teach the image half, and the masks' half by what the painter itself draws for them, where the critic
takes the picture for real. These pseudo-masks begin to count when the masks' half has learned something: from the first step
on, it would teach itself whatever it happened to be born with. Lessons are turned, moved and exposed a little, image and masks
together, and the map is taken of what comes out: the masks of a few patients are learned by heart otherwise.

Under privacy all patients are drawn from one pool: a patient with masks as often as one without, so that one sampling
probability stands for all. Critics and painter are scaled to share the clip norm, and what the critic of maps learns from
generated ones, which nothing clips since no patient is in it, is held to the critics' share: otherwise it is 30 to 60 times
what clipped patients' maps teach.

What reads real images: the critics and the painter, row by row, so both can be trained privately. The mapper learns from the
critic's weights only.

Departures from the source: what pseudo-masks are drawn by is the painter as it stands, not as it stood when an epoch began, for
there are no epochs where patients are drawn by chance, and their weight rises with training instead; each mask is a yes or no
by itself; the class enters; lessons are transformed; the first stage's networks, of which nothing was published, are ours.

Source: Xing, Papanastasiou, Walsh, Yang, "Less is more: unsupervised mask-guided annotated CT image synthesis with minimum
manual segmentations", IEEE TMI 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec
from synthrelease.generators.ranks import ranks_of
from synthrelease.generators.transforms import transformed
from synthrelease.generators.um import losses
from synthrelease.generators.um.given import ANY, dealt, refuse_repeats
from synthrelease.generators.um.guidance import Guidance, guided
from synthrelease.generators.um.networks import SCALES, Critics, Mapper, Painter
from synthrelease.generators.um.procedural import shapes
from synthrelease.generators.um.settings import UmSettings
from synthrelease.generators.weights import misfit, put, still, under

BETAS = (0.5, 0.99)
"""Of the painter's Adam: the critics move on, and what was downhill then is not now."""
GAME_BETAS = (0.0, 0.99)
"""Of the critics' and the mapper's, who carry no step on. When they did, and slopes were hardly held down (``penalty_weight`` 0.1),
made-up maps of brains varied two thirds as much as real ones do, since then nine tenths (standard deviation of coarse levels).
"""
UNMOVED = 0.5
"""Of the painter's lessons. Lungs of children, 50 masks, three seeds: what UM makes teaches a Dice of 0.915, and 0.909 where every
lesson was moved; tumours 0.234 and 0.236."""
DONOR_SHARE = 0.1
"""Of the training patients, set apart to give maps, where maps are real."""
RISE = (0.2, 0.6)
"""Shares of the training between which the weight of pseudo-masks rises from nothing to all."""
PAINTER_SCALE = 0.1
"""What the painter's loss is multiplied by under privacy, where its gradient and the critics' are clipped as one vector.

A patient's is 26 times as long as the critics' when both are new (29.6 beside 1.1) and 5 times after a warm-up (85 beside 16.5),
which unscaled leaves the critics 0.04 to 0.2 of the clip norm. About the middle of 1/26 and 1/5; medians of simulated patients at
32 px. Public and fixed: nothing is measured on the cohort.
"""
CHUNK = 64
"""Pictures painted together while sampling. Fixed, since another size may change the last bits."""


class UmGenerator:
    """Generator of image and masks from maps of superpixels.

    Args:
        spec: Shape of what is generated.
        settings: See the policy's section.

    Attributes:
        painter: Map to image and masks.
        mapper: Noise to map; None where maps come from elsewhere.
        critics: Of pictures with their maps, and of maps.
        maps: (M, 1, H, W) that are given, public or real, in [-1, 1]; M = 0 where maps are made.
        map_labels: (M,) their classes; -1 where a map stands for every class.
        calibration_share: Only where maps are real: share of the patients that give them.
    """

    def __init__(self, spec: Spec, settings: UmSettings) -> None:
        self.spec = spec
        self._settings = settings
        self._pseudo = 1.0
        self.guidance = Guidance(settings.superpixels, settings.compactness, settings.level_step)
        makes = settings.guidance == "generated"
        shape = (spec.resolution, settings.width)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.painter = Painter(spec.classes, spec.segments, *shape)
            self.critics = Critics(spec.classes, *shape, maps=makes)
            self.mapper = Mapper(spec.classes, settings.latent, *shape) if makes else None
        for network in (self.painter, self.critics, *([self.mapper] if self.mapper else [])):
            # On one core convolutions with few channels take half to two thirds of the time in this order.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.maps = torch.zeros(0, 1, spec.resolution, spec.resolution)
        self.map_labels = torch.zeros(0, dtype=torch.int64)
        if settings.guidance == "real":
            self.calibration_share = DONOR_SHARE

    @classmethod
    def from_state(cls, spec: Spec, settings: UmSettings, state: Mapping[str, Tensor]) -> Self:
        """The generator whose ``state()`` this is; its critics are untrained ones.

        Raises:
            IntegrityError: A tensor is missing or has another shape.
        """
        generator = cls(spec, settings)
        for name, network in generator._networks().items():
            put(network, under(state, name), "the networks")
        try:
            maps, labels = state["maps"].float(), state["map_labels"]
        except KeyError as error:
            raise misfit("the networks") from error
        # The painter's weights fit pictures of many sizes; its maps fit one.
        if maps.shape[1:] != generator.maps.shape[1:] or labels.shape != maps.shape[:1]:
            raise misfit("the shape of the maps")
        generator.maps, generator.map_labels = maps, labels
        return generator

    def state(self) -> dict[str, Tensor]:
        """Weights of painter and mapper, and the maps that were given, if any."""
        weights = {
            f"{name}/{key}": tensor.detach()
            for name, network in self._networks().items()
            for key, tensor in network.state_dict().items()
        }
        return weights | {"maps": self.maps, "map_labels": self.map_labels}

    def grow(self, share: float) -> bool:
        """Set the weight of pseudo-masks, which rises with training; nothing joins and nothing leaves.

        See :class:`synthrelease.generators.protocol.Growing`.
        """
        begin, end = RISE
        self._pseudo = min(1.0, max(0.0, (share - begin) / (end - begin)))
        return False

    def players(self) -> tuple[Player, ...]:
        """Critics, painter, and mapper where maps are generated, in the order in which they are stepped."""
        critics = Player(
            name="critics",
            module=self.critics,
            sees_real=True,
            draw=self._pairs,
            loss=self._critics_loss,
            generated=self._on_maps if self.mapper is not None else None,
            betas=GAME_BETAS,
            private_scale=1.0,
            averaged=False,
            rows_alike=True,
        )
        painter = Player(
            name="painter",
            module=self.painter,
            sees_real=True,
            draw=self._lessons,
            loss=self._painter_loss,
            betas=BETAS,
            seeks_masks=True,
            rows_alike=True,
            private_scale=PAINTER_SCALE,
        )
        if self.mapper is None:
            return critics, painter
        mapper = Player(
            name="mapper",
            module=self.mapper,
            sees_real=False,
            draw=lambda batch, rng: self._drawn(len(batch.images), rng),
            loss=self._mapper_loss,
            betas=GAME_BETAS,
        )
        return critics, painter, mapper

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Keep the maps of patients who were set apart to give them: ``guidance: real`` alone.

        Args:
            batches: Their images. What is sampled after their maps leads back to them.
        """
        given = list(batches)
        self.give_maps(torch.cat([batch.images for batch in given]), torch.cat([batch.labels for batch in given]))

    def give_maps(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Keep the maps of images as those to sample by.

        Args:
            images: (M, 1, H, W) in [-1, 1], M at least 1; resized to what is generated.
            labels: (M,) their classes; None = they stand for every class.
        """
        self.maps = _in_chunks(self._map_at_size, images)
        self.map_labels = torch.full((len(images),), ANY) if labels is None else labels.clone()

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index: a map, and what is painted after it.

        Args:
            labels: (N,) int64.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            Images in [-1, 1] and masks in [0, 1].

        Raises:
            UnsuitableData: Maps are given, and fewer of a class than images.
        """
        return self.painted(self.sample_maps(labels, rng), labels)

    def sample_numbered(self, labels: Tensor, numbers: Tensor, rng: torch.Generator, *, seed: int) -> Batch:
        """The same, as a part of an archive: of maps that are given, none serves a class twice in all of it.

        Args:
            labels: (N,) int64.
            numbers: (N,) int64, images of the same class that came before; see :class:`.protocol.Stocked`.
            rng: Source of all randomness but that of which map is whose.
            seed: Of the archive: which map is whose.
        """
        if not self._gives_maps:
            return self.sample(labels, rng)
        return self.painted(self.maps[dealt(self.map_labels, labels, numbers, self.spec.classes, seed)], labels)

    def refuse_repeats(self, wanted: Sequence[int]) -> None:
        """Raise UnsuitableData where maps are given, and fewer of a class than images of it are wanted."""
        if self._gives_maps:
            refuse_repeats(self.map_labels, wanted)

    def sample_maps(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """A map (1, H, W) in [-1, 1] for each class index (N,), from where the settings say; one that is given, once a class."""
        source = self._settings.guidance
        if source == "procedural":
            return _in_chunks(self.guidance.of, shapes(len(labels), self.spec.resolution, rng))
        if source == "generated":
            assert self.mapper is not None
            self.mapper.eval()
            latents = torch.randn(len(labels), self._settings.latent, generator=rng)
            with torch.no_grad():
                return _in_chunks(lambda *each: self.guidance.of(self._pictured(*each)), latents, labels)
        seed = int(torch.randint(2**62, (), generator=rng))
        numbers = torch.from_numpy(ranks_of(labels.numpy(), 1))
        return self.maps[dealt(self.map_labels, labels, numbers, self.spec.classes, seed)]

    def painted(self, maps: Tensor, labels: Tensor) -> Batch:
        """What is painted after maps (N, 1, H, W) in [-1, 1] for class indices (N,)."""
        self.painter.eval()
        with torch.no_grad():
            done = _in_chunks(self.painter, guided(maps), labels)
        return Batch(images=done[:, :1], masks=torch.sigmoid(done[:, 1:]), labels=labels)

    @property
    def _gives_maps(self) -> bool:
        """Whether what is painted after was given, and there is so much of it and no more."""
        return self._settings.guidance in ("public", "real")

    def _map_at_size(self, images: Tensor) -> Tensor:
        side = self.spec.resolution
        if images.shape[-1] != side:
            images = functional.interpolate(images, size=(side, side), mode="area")
        return self.guidance.of(images)

    def _networks(self) -> dict[str, nn.Module]:
        return {"painter": self.painter} | ({} if self.mapper is None else {"mapper": self.mapper})

    def _drawn(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        return {
            "labels": torch.randint(self.spec.classes, (size,), generator=rng),
            "latents": torch.randn(size, self._settings.latent, generator=rng),
        }

    def _pictured(self, latents: Tensor, labels: Tensor, mapper: Forward | None = None) -> Tensor:
        made: Tensor = (mapper or self.mapper)(latents, labels)  # type: ignore[misc]
        return made

    def _pairs(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Real images and what is painted after their maps."""
        seen = guided(self._maps_of(batch, again=True))
        with torch.no_grad():
            fake = self.painter(seen, batch.labels)[:, :1]
        return {"guided": seen, "real": batch.images, "fake": fake, "labels": batch.labels}

    def _critics_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        labels = inputs["labels"]
        real = self.critics.parted(forward(inputs["guided"], inputs["real"], labels))
        fake = self.critics.parted(forward(inputs["guided"], inputs["fake"], labels))
        loss = 0.5 * (losses.judged(real[:SCALES], real=True) + losses.judged(fake[:SCALES], real=False))
        if self.mapper is not None:
            # The map is the same beside the real image and the painted one; its verdict is taken once.
            loss = loss + functional.softplus(-real[SCALES])
        return loss

    def _on_maps(self, rng: torch.Generator) -> Tensor:
        """What the critic of maps learns from generated ones, and the penalty on its slope there; no real image in it."""
        assert self.critics.maps is not None
        drawn = self._drawn(self._settings.batch, rng)
        with torch.no_grad():
            made = self.guidance.of(self._pictured(drawn["latents"], drawn["labels"]))
        weight = self._settings.penalty_weight
        scores = self.critics.maps(made.requires_grad_(weight > 0), drawn["labels"])
        loss = functional.softplus(scores).mean()
        return loss + 0.5 * weight * losses.squared_slope(scores, made).mean() if weight else loss

    def _mapper_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        made = self.guidance.straight_through(self._pictured(inputs["latents"], inputs["labels"], forward))
        assert self.critics.maps is not None
        return functional.softplus(-still(self.critics.maps)(made, inputs["labels"]))

    def _lessons(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Maps, images, the masks to learn, the pixels where they count, and how much."""
        batch = self._moved(batch, rng)
        seen = guided(self._maps_of(batch, again=not self._settings.transforms))
        told = {"guided": seen, "image": batch.images, "labels": batch.labels}
        if self.spec.segments == 0:
            return told
        known = batch.known_masks()[:, None, None, None]
        with torch.no_grad():
            painted = self.painter(seen, batch.labels)
            finest = self.critics.parted(self.critics(seen, painted[:, :1], batch.labels))[0]
            trust = losses.trusted(finest, self.spec.resolution, self._settings.trusted_from)
            wanted = torch.where(known, batch.masks, losses.pseudo_masks(painted[:, 1:]))
        weights = torch.where(
            known[:, 0, 0, 0], self._settings.segmentation_weight, self._pseudo * self._settings.pseudo_weight
        )
        return {**told, "wanted": wanted, "pixels": torch.where(known, 1.0, trust), "weights": weights}

    def _moved(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Half of the images under a transform of its own, and its masks with it: a few masks stand for many more.

        The other half stays: maps are made like those of images as they are, which the painter would never meet.
        """
        if not self._settings.transforms:
            return batch
        given = torch.cat([batch.images, 2 * batch.masks - 1], dim=1)
        moved = transformed(given, self._settings.transforms, rng)
        stays = torch.rand(len(given), generator=rng) < UNMOVED
        pictures = torch.where(stays[:, None, None, None], given, moved)
        return Batch(pictures[:, :1].contiguous(), (pictures[:, 1:] + 1) / 2, batch.labels, labelled=batch.labelled)

    def _maps_of(self, batch: Batch, *, again: bool) -> Tensor:
        """Maps (N, 1, H, W) of images, which are kept where they will be met again."""
        return self.guidance.remembered(batch.images) if again else self.guidance.of(batch.images)

    def _painter_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        painted = forward(inputs["guided"], inputs["labels"])
        image, logits = painted[:, :1], painted[:, 1:]
        judged = self.critics.parted(still(self.critics)(inputs["guided"], image, inputs["labels"]))
        loss = losses.judged(judged[:SCALES], real=True)
        loss = loss + self._settings.reconstruction_weight * (image - inputs["image"]).abs().mean(dim=(1, 2, 3))
        if "wanted" not in inputs:
            return loss
        return loss + inputs["weights"] * losses.segmentation(logits, inputs["wanted"], inputs["pixels"])


def _in_chunks(work: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Done a fixed number of rows at a time."""
    return torch.cat([work(*each) for each in zip(*(torch.split(t, CHUNK) for t in tensors), strict=True)])
