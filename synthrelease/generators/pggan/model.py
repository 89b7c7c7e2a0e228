"""The progressive GAN: a critic and a generator that grow together, a guide, and classes by latent class optimisation.

The generator is unconditional: it never sees a label. A class is reached by moving the latent of each image until the
guide sees the findings that the class asks for (:mod:`synthrelease.generators.pggan.lco`).

Real images are read by the critic and by the guide alone, each row by itself, so both can be trained privately; the
generator learns from the critic's weights only.

Source: Segal, Rubin, Rubin, Pantanowitz, "Evaluating the clinical realism of synthetic chest X-rays generated using
progressively growing GANs", SN Computer Science 2021, for the whole; Karras et al., ICLR 2018, for the networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from synthrelease.errors import IntegrityError
from synthrelease.generators.pggan import guide as guides
from synthrelease.generators.pggan import losses
from synthrelease.generators.pggan.critic import Critic, group_spread
from synthrelease.generators.pggan.growth import at_stage, stage_at
from synthrelease.generators.pggan.lco import calibration, chunk_at, optimise
from synthrelease.generators.pggan.network import MASK_REACH, Painter
from synthrelease.generators.pggan.thresholds import Thresholds
from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec
from synthrelease.generators.weights import put, still, under
from synthrelease.policy.generators import LatentClass

BETAS = (0.0, 0.99)
"""Of Adam, for critic and generator: the other player moves on, and what was downhill then is not now."""
GENERATOR_RATE = 0.5
"""The generator's learning rate over the critic's: at the same rate the critic stays near chance and teaches little."""
PENALISED = 8
"""The penalty is taken on one in so many pictures of a batch, and weighs so many times as much."""
CALIBRATION_SHARE = 0.1
GUIDE_EPOCHS = 3
"""Times that a guide reads the samples of the moments, where nothing else teaches it."""
USUAL = 64
"""Pictures from which the usual spread of a batch is taken."""


class PgganSettings(Protocol):
    """The settings that the networks, their losses and the sampler need."""

    @property
    def latent(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def loss(self) -> losses.Kind: ...
    @property
    def penalty_weight(self) -> float: ...
    @property
    def minibatch_stddev(self) -> bool: ...
    @property
    def critic_steps(self) -> int: ...
    @property
    def private_critic_steps(self) -> int: ...
    @property
    def fade_share(self) -> float: ...
    @property
    def guide(self) -> str: ...
    @property
    def lco(self) -> LatentClass: ...
    @property
    def batch(self) -> int: ...
    @property
    def seed(self) -> int: ...


def on_real_images(settings: PgganSettings) -> tuple[str, ...]:
    """Names of the players that see real images."""
    return ("critic", "guide") if settings.guide == "trained" else ("critic",)


def guide_notes(settings: PgganSettings, findings: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and description of what is told of each image, in the order of its notes."""
    return (
        ("accepted", "1 when the guide saw what the class asks for and the critic found the image plausible, else 0"),
        ("restarts", "fresh starts that the latent needed"),
        ("critic", "the critic's score, higher is more plausible"),
        *((f"guide_{name}", f"the guide's probability that {name} is present") for name in findings),
    )


def pictures(batch: Batch) -> Tensor:
    """(N, 1 + K, H, W) image in [-1, 1] and masks within ± MASK_REACH, as channels."""
    joined = torch.cat([batch.images, MASK_REACH * (2.0 * batch.masks - 1.0)], dim=1)
    return joined.contiguous(memory_format=torch.channels_last)


class PgganGenerator:
    """Progressive GAN of image and masks together, steered to classes by a guide.

    Args:
        spec: Shape of what is generated.
        settings: See the policy's section.

    Attributes:
        painter: The generator's network, fully grown at first.
        critic: Of the same scales.
        guide: The classifier that latents are steered by.
        thresholds: What the guide's probabilities have to reach.
        calibration_share: Share of the training patients that no network sees, where no privacy is claimed.
    """

    calibration_share = CALIBRATION_SHARE

    def __init__(self, spec: Spec, settings: PgganSettings) -> None:
        self.spec = spec
        self._settings = settings
        self._chunk = chunk_at(spec.resolution)
        channels = 1 + spec.segments
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.painter = Painter(settings.latent, channels, spec.resolution, settings.width)
            self.critic = Critic(channels, spec.resolution, settings.width, batch_spread=settings.minibatch_stddev)
            self.guide = guides.Guide(spec)
        for network in (self.painter, self.critic):
            # On one core convolutions with few channels take a third to two thirds of the time in this order.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.thresholds = Thresholds.default(spec.target_table().shape[1])
        self._guide_learns = settings.guide == "trained"

    @classmethod
    def from_state(cls, spec: Spec, settings: PgganSettings, state: Mapping[str, Tensor]) -> Self:
        """The generator whose ``state()`` this is.

        Raises:
            IntegrityError: A tensor is missing or has another shape.
        """
        generator = cls(spec, settings)
        for name, network in generator._networks().items():
            put(network, under(state, name), f"the {name}")
        try:
            generator.thresholds = Thresholds.from_tensors(under(state, "thresholds"))
        except KeyError as error:
            raise IntegrityError(
                "the guide's thresholds are missing", fix="Train again, or restore the checkpoint from a copy."
            ) from error
        return generator

    def players(self) -> tuple[Player, ...]:
        """Critic, guide (where it is trained here) and generator, in the order in which they are stepped."""
        critic = Player(
            name="critic",
            module=self.critic,
            sees_real=True,
            draw=self._real,
            loss=self._critic_loss,
            generated=self._on_generated,
            betas=BETAS,
            averaged=False,
        )
        painter = Player(
            name="generator",
            module=self.painter,
            sees_real=False,
            draw=lambda batch, rng: {"latents": self._latents(len(batch.images), rng)},
            loss=self._painter_loss,
            every=self._settings.critic_steps,
            every_private=self._settings.private_critic_steps,
            betas=BETAS,
        )
        guide = (guides.player(self.guide, self.spec),) if self._guide_learns else ()
        return (critic, *guide, painter)

    def grow(self, share: float) -> bool:
        """See :class:`synthrelease.generators.protocol.Growing`."""
        stage = stage_at(share, len(self.painter.sizes), self._settings.fade_share)
        changed = [network.grow(stage) for network in (self.painter, self.critic)]
        return any(changed)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Set the guide's thresholds on images that no network saw; a guide of the moments learns from most of them first.

        Args:
            batches: Images of patients set apart, or samples of the private moments; kept only where a guide learns from them.
        """
        if self._settings.guide == "moments":
            own = list(batches)
            taught = own[: -max(1, len(own) // 4)]
            guides.fit(self.guide, self.spec, taught * GUIDE_EPOCHS, seed=self._settings.seed)
            batches = own[len(taught) :]
        self.critic.eval()
        self.guide.eval()
        if self.critic.batch_spread:
            with torch.no_grad():
                rng = torch.Generator().manual_seed(self._settings.seed)
                starts = torch.split(self._latents(USUAL, rng), self._chunk)
                # Features are a few pixels wide at any resolution: pictures of all groups need not be held together.
                features = torch.cat([self.critic.trunk(self.painter(latents)) for latents in starts])
                self.critic.usual_spread.copy_(group_spread(features).mean())
        self.thresholds = calibration(
            self.guide,
            batches,
            self.spec.target_table(),
            self.painter,
            self.critic,
            self._settings.lco,
            latent=self._settings.latent,
            seed=self._settings.seed,
            chunk=self._chunk,
        )

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index, its latent moved until the guide sees that class.

        Args:
            labels: (N,) int64.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            Images in [-1, 1], masks in [0, 1], and notes of what the guide saw.
        """
        for network in self._networks().values():
            network.eval()
        solution = optimise(
            self.painter,
            self.guide,
            self.critic,
            self.spec.target_table()[labels],
            rng,
            self._settings.lco,
            self.thresholds,
            latent=self._settings.latent,
            chunk=self._chunk,
        )
        done = solution.pictures.contiguous()
        return Batch(
            images=done[:, :1],
            masks=(done[:, 1:] / MASK_REACH + 1.0) / 2.0,
            labels=labels,
            notes=solution.notes(self.spec.finding_names()),
        )

    def state(self) -> dict[str, Tensor]:
        """Weights of generator, critic and guide, and the guide's thresholds."""
        out = {
            f"{name}/{key}": tensor.detach()
            for name, network in self._networks().items()
            for key, tensor in network.state_dict().items()
        }
        return out | {f"thresholds/{key}": tensor for key, tensor in self.thresholds.tensors().items()}

    def guide_state(self) -> dict[str, Tensor]:
        """The guide's weights, for another run."""
        return {name: tensor.detach() for name, tensor in self.guide.state_dict().items()}

    def take_guide(self, state: Mapping[str, Tensor]) -> None:
        """Put in another run's guide; it is not trained any more.

        Raises:
            IntegrityError: It has another shape.
        """
        put(self.guide, state, "the guide")
        self._guide_learns = False

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.painter, "critic": self.critic, "guide": self.guide}

    def _latents(self, size: int, rng: torch.Generator) -> Tensor:
        return torch.randn(size, self._settings.latent, generator=rng)

    def _made(self, size: int, rng: torch.Generator) -> Tensor:
        """Pictures (N, 1 + K, h, w) at the stage's size that nothing is differentiated through."""
        with torch.no_grad():
            made: Tensor = self.painter(self._latents(size, rng))
        return made

    def _real(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        seen = at_stage(pictures(batch), self.critic.stage, len(self.critic.sizes))
        if self._settings.loss == "softplus" or not self._settings.penalty_weight:
            return {"real": seen}
        return {"real": seen, "fake": self._made(len(seen), rng), "where": torch.rand(len(seen), generator=rng)}

    def _critic_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        real, weight = inputs["real"], self._settings.penalty_weight
        loss = losses.on_real(forward(real), self._settings.loss)
        if not weight or self._on_fakes:
            return loss
        # A statistic over the batch is refused under privacy, so where there is one, rows may be treated unlike.
        rows = _penalised(len(real)) if self.critic.batch_spread else len(real)
        weight *= len(real) / rows
        if self._settings.loss == "softplus":
            penalty = losses.r1(forward, real[:rows], weight, self.spec.resolution)
        else:
            fake, where = inputs["fake"][:rows], inputs["where"][:rows]
            penalty = losses.gradient_penalty(forward, real[:rows], fake, where, weight)
        return loss + torch.cat([penalty, penalty.new_zeros(len(real) - rows)])

    def _on_generated(self, rng: torch.Generator) -> Tensor:
        made = self._made(self._settings.batch, rng)
        loss = losses.on_generated(self.critic(made), self._settings.loss).mean()
        if self._on_fakes and self._settings.penalty_weight:
            part = made[: _penalised(len(made))]
            weight = self._settings.penalty_weight
            loss = loss + losses.r1(self.critic, part, weight, self.spec.resolution).mean()
        return loss

    @property
    def _on_fakes(self) -> bool:
        """Whether slopes are held down at generated pictures instead of real ones.

        So they are where the critic may be trained privately: no real picture is in that penalty, which therefore needs
        neither clipping nor noise, and the loss on real pictures stays one of first derivatives.
        """
        return self._settings.loss == "softplus" and not self.critic.batch_spread

    def _painter_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        return losses.of_generator(still(self.critic)(forward(inputs["latents"])), self._settings.loss)


def _penalised(size: int) -> int:
    return max(1, size // PENALISED)
