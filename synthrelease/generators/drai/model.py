"""Disentangled adversarial inference: one generator, one encoder with two codes, four critics, two predictors.

    p(x, z, c | t)   z ~ N(0, I), c ~ p(c | t), x~ = G(z, c)
    q(z, c | x)      z^ and c^ read from a real picture x

Content is supervised, since each class has contents of its own that pictures of it are drawn from, and inferred, since the
content critic compares those with what the encoder reads. Style is inferred alone. Reversal and self-supervision keep
the two apart; without the one, the other, or both, what is left is DAI, DAI + self-supervision, DAI + reversal.

What reads real pictures: the critics, the encoder, the predictors, and the generator through the image cycle; each a player
that privacy clips and noises, row by row. With the latent cycle the generator reads none, which departs from the paper.
What generated pictures teach is drawn from public laws, and learned outside the noise. A picture is sampled from a class
and a style, never from a picture, and nothing that the encoder says of a real picture is kept.

Source: Havaei, Mao, Wang, Lao, "Conditional generation of medical images via disentangled adversarial inference", Medical
Image Analysis 2021; its precursor without the two constraints: Lao et al., "Dual adversarial inference for text-to-image
synthesis", ICCV 2019. Weights, layers and the pull of codes to their priors are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from synthrelease.generators.drai import losses, reversal
from synthrelease.generators.drai.diagnostics import diagnose
from synthrelease.generators.drai.discriminators import Critics
from synthrelease.generators.drai.networks import Codes, Encoder, Painter, gaussian
from synthrelease.generators.drai.settings import DraiSettings, on_real_images
from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec
from synthrelease.generators.transforms import transformed
from synthrelease.generators.weights import put, still

BETAS = (0.5, 0.99)
"""Of Adam, for all: the other players move on, and what was downhill then is not now."""
PENALISED = 4
"""The penalty is taken on one in so many pictures of a batch, and weighs so many times as much."""
STYLE_NOTE = "style"
"""Tells of an image which of the styles it has, where the policy asks for so many a finding."""
CHUNK = 64
"""Pictures painted together while sampling. Fixed, since another size may change the last bits."""


def pictures(batch: Batch) -> Tensor:
    """(N, 1 + K, H, W) image and masks as channels, all in [-1, 1]."""
    return torch.cat([batch.images, 2.0 * batch.masks - 1.0], dim=1)


class DraiGenerator:
    """Class-conditional generator of image and masks together, with style apart from content.

    Args:
        spec: Shape of what is generated.
        settings: See the policy's section.

    Attributes:
        painter: The generator's network, with the contents of each class. All that sampling needs.
        encoder: Reads style and content from a picture. Of no use once trained, but to those who judge it.
        critics: The four discriminating jobs.
        predictors: What the reversal defeats.
    """

    def __init__(self, spec: Spec, settings: DraiSettings) -> None:
        self.spec = spec
        self._settings = settings
        self._share = 1.0
        self._infers = True
        channels, sizes = 1 + spec.segments, {"style": settings.style, "content": settings.content}
        shape = (channels, spec.resolution, settings.width)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.painter = Painter(spec.classes, *shape, **sizes)
            self.encoder = Encoder(*shape, **sizes)
            self.critics = Critics(spec.classes, *shape, **sizes)
            self.predictors = reversal.Predictors(**sizes, width=4 * settings.width)

    @classmethod
    def from_state(cls, spec: Spec, settings: DraiSettings, state: Mapping[str, Tensor]) -> Self:
        """The generator whose ``state()`` this is; its encoder, critics and predictors are untrained ones.

        Raises:
            IntegrityError: A tensor is missing or has another shape.
        """
        generator = cls(spec, settings)
        generator._infers = False
        put(generator.painter, state, "the network")
        return generator

    def state(self) -> dict[str, Tensor]:
        """Every weight of the generator and the contents of each class; nothing of the encoder."""
        return {name: tensor.detach() for name, tensor in self.painter.state_dict().items()}

    def grow(self, share: float) -> bool:
        """Set the weight of the reversal, which rises with training; nothing joins and nothing leaves.

        See :class:`synthrelease.generators.protocol.Growing`.
        """
        self._share = share
        return False

    def players(self) -> tuple[Player, ...]:
        """Critics, predictors, encoder, generator, in the order in which they are stepped."""
        critics = Player(
            name="critics",
            module=self.critics,
            sees_real=True,
            draw=self._real_pairs,
            loss=self._critics_loss,
            generated=self._on_made,
            betas=BETAS,
            averaged=False,
        )
        predictors = Player(
            name="predictors",
            module=self.predictors,
            sees_real=True,
            draw=self._told,
            loss=lambda forward, inputs: reversal.errors(forward, inputs["style"], inputs["content"]).sum(dim=1),
            turns=self._settings.predictor_steps,
            betas=BETAS,
            rate=self._settings.predictor_rate,
            averaged=False,
        )
        latent = self._settings.cycle == "latent" and self._settings.cycle_weight > 0
        encoder = Player(
            name="encoder",
            module=self.encoder,
            sees_real=True,
            draw=self._looks,
            loss=self._encoder_loss,
            generated=(lambda rng: self._latent_cycle(self._made(rng, still=True)).mean()) if latent else None,
            betas=BETAS,
        )
        told = (predictors,) if self._settings.reversal_weight else ()
        return (critics, *told, encoder, self._painted())

    def _painted(self) -> Player:
        """The generator as a player: it reads real pictures through the image cycle alone."""
        if "generator" not in on_real_images(self._settings):
            return Player(
                name="generator",
                module=self.painter,
                sees_real=False,
                draw=lambda batch, rng: self._drawn(len(batch.images), rng),
                loss=lambda forward, inputs: self._painter_loss(self._from(inputs)),
                betas=BETAS,
            )
        return Player(
            name="generator",
            module=self.painter,
            sees_real=True,
            draw=self._inferred,
            loss=lambda forward, inputs: (
                self._settings.cycle_weight
                * losses.difference(forward(inputs["style"], inputs["content"]), inputs["picture"])
            ),
            generated=lambda rng: self._painter_loss(self._made(rng)).mean(),
            betas=BETAS,
        )

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index: a content of the class, and a style.

        Args:
            labels: (N,) int64.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            Images in [-1, 1] and masks in [0, 1].
        """
        return self.sample_ranked(labels, (labels[:, None] == labels).tril(diagonal=-1).sum(dim=1), rng)

    def sample_ranked(self, labels: Tensor, ranks: Tensor, rng: torch.Generator) -> Batch:
        """The same, as a part of an archive.

        Where the policy asks for so many styles a finding, the patients of each class take them in turn, and a note says which.

        Args:
            labels: (N,) int64.
            ranks: (N,) int64, patients of the same class that came before; see :class:`.protocol.Ranked`.
            rng: Source of all randomness; equal state, equal bits.
        """
        drawn = self._drawn(len(labels), rng)
        if self._settings.styles_per_finding is None:
            return self._shown(labels, drawn["style"], drawn["noise"])
        number = ranks % self._settings.styles_per_finding
        shown = self._shown(labels, self._styles()[number], drawn["noise"])
        return replace(shown, notes={STYLE_NOTE: number.double()})

    def _styles(self) -> Tensor:
        """(S, style): the styles that every finding is drawn with; they follow from the policy's seed."""
        shape = (self._settings.styles_per_finding or 0, self._settings.style)
        # A stream of their own: whoever draws from the same plain seed must not meet them again.
        stream = np.random.SeedSequence([self._settings.seed, *b"styles"]).generate_state(1, np.uint64)[0]
        return torch.randn(shape, generator=torch.Generator().manual_seed(int(stream >> np.uint64(1))))

    def sample_grid(self, labels: Tensor, styles: int, rng: torch.Generator) -> Batch:
        """Every content with every style: rows share a content, columns a style.

        The styles that the policy asks for come first, then fresh ones.

        Args:
            labels: (R,) int64, the class of each row.
            styles: S, columns.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            R S images with masks, row by row.
        """
        fresh = torch.randn(styles, self._settings.style, generator=rng)
        style = torch.cat([self._styles(), fresh])[:styles].repeat(len(labels), 1)
        noise = torch.randn(len(labels), self._settings.content, generator=rng).repeat_interleave(styles, dim=0)
        return self._shown(labels.repeat_interleave(styles), style, noise)

    def infer(self, batch: Batch) -> Codes:
        """What the encoder says of images. Of real ones it is as private as they are: to judge the model with, in the house.

        Args:
            batch: Images with masks; classes are not read.

        Raises:
            ValueError: This generator came back from its tensors, which hold no encoder.
        """
        if not self._infers:
            raise ValueError("the encoder is not kept with a generator: infer where it was trained")
        self.encoder.eval()
        with torch.no_grad():
            return self.encoder.codes(self.encoder(pictures(batch)))

    def diagnostics(self, rng: torch.Generator, size: int = 64) -> dict[str, float]:
        """How the game stands on ``size`` generated pictures: see :func:`.diagnostics.diagnose`."""
        one, other = self._drawn(size, rng), self._drawn(size, rng)
        one["wrong"] = losses.wrong_labels(one["labels"], self.spec.classes, rng)
        found = diagnose(self.painter, self.encoder, self.predictors, one, other)
        if self._settings.reversal_weight:
            return found
        # Predictors that nobody trained know nothing of the codes.
        return {name: value for name, value in found.items() if not name.startswith("predictor")}

    def _shown(self, labels: Tensor, style: Tensor, noise: Tensor) -> Batch:
        self.painter.eval()
        with torch.no_grad():
            content = self.painter.contents(labels).at(noise)
            parts = [
                self.painter(*each) for each in zip(torch.split(style, CHUNK), torch.split(content, CHUNK), strict=True)
            ]
        done = torch.cat(parts)
        return Batch(images=done[:, :1], masks=(done[:, 1:] + 1.0) / 2.0, labels=labels)

    def _drawn(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Everything that a generated picture begins with: classes (N,), style (N, style), noise (N, content)."""
        return {
            "labels": torch.randint(self.spec.classes, (size,), generator=rng),
            "style": torch.randn(size, self._settings.style, generator=rng),
            "noise": torch.randn(size, self._settings.content, generator=rng),
        }

    def _from(self, drawn: Inputs) -> dict[str, Tensor]:
        """A picture, and the codes and class that it was painted from."""
        content = self.painter.contents(drawn["labels"]).at(drawn["noise"])
        painted = self.painter(drawn["style"], content)
        return {"picture": painted, "style": drawn["style"], "content": content, "labels": drawn["labels"]}

    def _made(self, rng: torch.Generator, *, still: bool = False) -> dict[str, Tensor]:
        """A batch of them; ``still`` ones are differentiated through by nobody."""
        with torch.set_grad_enabled(not still):
            return self._from(self._drawn(self._settings.batch, rng))

    def _judged(self, made: Inputs, critics: Forward | None = None) -> Tensor:
        """The critics' scores (N, 5) of generated pictures."""
        labels = made["labels"]
        scores: Tensor = (critics or self.critics)(made["picture"], labels, labels, made["style"], made["content"])
        return scores

    def _painter_loss(self, made: Inputs) -> Tensor:
        loss = losses.of_generator(self._judged(made, still(self.critics)))
        law = self.painter.contents(made["labels"])
        loss = loss + self._settings.conditioning_weight * losses.divergence(law)
        if self._settings.cycle == "latent" and self._settings.cycle_weight:
            loss = loss + self._latent_cycle(made, still(self.encoder))
        return loss

    def _latent_cycle(self, made: Inputs, encoder: Forward | None = None) -> Tensor:
        """Mean squared error (N,) of the codes that are read again from generated pictures."""
        codes = self.encoder.codes((encoder or self.encoder)(made["picture"]))
        apart = (codes.style.mean - made["style"]).square().mean(dim=1)
        apart = apart + (codes.content.mean - made["content"]).square().mean(dim=1)
        return self._settings.cycle_weight * apart

    def _inferred(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Real pictures with codes that nobody is differentiated through."""
        real = pictures(batch)
        with torch.no_grad():
            codes = self.encoder.codes(self.encoder(real))
        return {
            "picture": real,
            "style": codes.style.at(torch.randn(codes.style.mean.shape, generator=rng)),
            "content": codes.content.at(torch.randn(codes.content.mean.shape, generator=rng)),
        }

    def _told(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """What the encoder says of real pictures for certain, without its noise."""
        with torch.no_grad():
            codes = self.encoder.codes(self.encoder(pictures(batch)))
        return {"style": codes.style.mean, "content": codes.content.mean}

    def _real_pairs(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        wrong = losses.wrong_labels(batch.labels, self.spec.classes, rng)
        return {**self._inferred(batch, rng), "labels": batch.labels, "wrong": wrong}

    def _critics_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        scores = forward(*(inputs[name] for name in ("picture", "labels", "wrong", "style", "content")))
        loss = losses.critics_on_real(scores, inputs["labels"], inputs["wrong"])
        if not self._settings.penalty_weight or self._settings.penalty_on != "real":
            return loss
        # Rows are treated unlike, which no privacy claim allows; the policy's rules then ask for generated ones.
        penalty = self._penalty(forward, inputs)
        return loss + torch.cat([penalty, penalty.new_zeros(len(loss) - len(penalty))])

    def _on_made(self, rng: torch.Generator) -> Tensor:
        """What the critics learn from a generated batch."""
        made = self._made(rng, still=True)
        loss = losses.critics_on_made(self._judged(made)).mean()
        if not self._settings.penalty_weight or self._settings.penalty_on != "generated":
            return loss
        return loss + self._penalty(self.critics, made).sum() / self._settings.batch

    def _penalty(self, forward: Forward, pairs: Inputs) -> Tensor:
        """Penalties of the first of (N,) pairs, which stand for all."""
        size = len(pairs["picture"])
        rows = max(1, size // PENALISED)
        some = {name: value[:rows] for name, value in pairs.items()}
        return losses.slope_penalty(forward, some, self._settings.penalty_weight * size / rows)

    def _looks(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Real pictures, their transforms, their classes, and the noise of their codes."""
        real = pictures(batch)
        looks = {
            "real": real,
            "labels": batch.labels,
            "style_noise": torch.randn(len(real), self._settings.style, generator=rng),
            "content_noise": torch.randn(len(real), self._settings.content, generator=rng),
        }
        if self._settings.self_supervision_weight:
            looks["turned"] = transformed(real, self._settings.transforms, rng)
        return looks

    def _encoder_loss(self, forward: Forward, inputs: Inputs) -> Tensor:
        settings, real, labels = self._settings, inputs["real"], inputs["labels"]
        codes = self.encoder.codes(forward(real))
        style, content = codes.style.at(inputs["style_noise"]), codes.content.at(inputs["content_noise"])
        loss = losses.of_encoder(still(self.critics)(real, labels, labels, style, content))
        if settings.code_weight:
            law = gaussian(still(self.painter.conditioning)(labels))
            loss = loss + settings.code_weight * (
                losses.divergence(codes.style) + losses.divergence(codes.content, law)
            )
        if settings.cycle == "image" and settings.cycle_weight:
            again = still(self.painter)(style, content)
            loss = loss + settings.cycle_weight * losses.difference(again, real)
        if settings.reversal_weight:
            hidden = reversal.reversed_errors(still(self.predictors), codes.style.mean, codes.content.mean)
            loss = loss + settings.reversal_weight * reversal.ramp(self._share) * hidden
        if settings.self_supervision_weight:
            turned = self.encoder.codes(forward(inputs["turned"]))
            loss = loss + settings.self_supervision_weight * losses.self_supervision(
                codes.style.mean, codes.content.mean, turned.style.mean, turned.content.mean
            )
        return loss


def style_notes(settings: DraiSettings, findings: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """What a generator of these settings tells of each image that it makes: name and description."""
    if settings.styles_per_finding is None:
        return ()
    return ((STYLE_NOTE, "number of the style, which images of other findings share"),)
