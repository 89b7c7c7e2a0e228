"""Ways to an image of a class: latent class optimisation, what it is compared with, and the attack that it must not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.generators.pggan.lco import Settings, looks, optimise
from synthrelease.generators.pggan.model import PgganGenerator
from synthrelease.generators.pggan.thresholds import Thresholds
from synthrelease.policy.generators import LatentClass

SURE = 1e-4
"""From certainty, where nothing stops the search: thresholds that nothing reaches."""
PIXEL_RATE = 0.005
"""Adam step size of the attack on pixels; grey values span 2."""
MOST_REJECTED, RAISED = 30, 1.15
"""Unguided images that one image may take, over the mean that is wanted; and how the most is raised at a time."""
UNSTOPPED = (0, 5, 10, 20, 40, 80)
"""Steps of the over-optimisation curve."""


@dataclass(frozen=True)
class Made:
    """Images that one way made.

    Attributes:
        images: (N, 1, H, W) in [-1, 1].
        asked: (N,) int64 class.
        hits: (N,) bool, whether the guide sees the class by the thresholds.
        accepted: (N,) bool.
        critic: Mean score of the critic; None: not asked.
        calls: Pictures that the generator made for each image, on average.
    """

    images: Tensor
    asked: Tensor
    hits: Tensor
    accepted: Tensor
    critic: float | None
    calls: float


class Maker:
    """One trained generator and its frozen guide.

    Args:
        generator: Trained and calibrated. settings: Its latent's size and its search.
    """

    def __init__(self, generator: PgganGenerator, settings: LatentClass, latent: int) -> None:
        for network in (generator.painter, generator.guide, generator.critic):
            network.eval()
        self.generator, self.settings, self.latent = generator, settings, latent
        self.table = generator.spec.target_table()

    def searched(
        self, asked: Tensor, seed: int, settings: Settings | None = None, thresholds: Thresholds | None = None
    ) -> Made:
        """By the product's own search, with other settings or thresholds where told."""
        rng = torch.Generator().manual_seed(seed)
        own = self.generator.thresholds
        found = optimise(
            self.generator.painter,
            self.generator.guide,
            self.generator.critic,
            self.table[asked],
            rng,
            settings or self.settings,
            thresholds or own,
            latent=self.latent,
        )
        hits = self.hits(found.probabilities.logit(eps=1e-6), asked)
        calls = float(found.calls.double().mean())
        return Made(found.pictures[:, :1].contiguous(), asked, hits, found.accepted, float(found.critic.mean()), calls)

    def hits(self, logits: Tensor, asked: Tensor) -> Tensor:
        """(N,) bool: every finding on its side by the calibrated thresholds."""
        return self.generator.thresholds.shortfall(logits, self.table[asked]).amax(dim=1) <= 0.0

    def unguided(self, asked: Tensor, seed: int) -> Made:
        """Whatever comes, whatever was asked for."""
        return self.searched(asked, seed, self._without_steps(1))

    def rejected(self, asked: Tensor, seed: int, calls: float) -> Made:
        """The best of unguided images, until as many calls of the generator were made as the search took.

        Who is accepted early leaves calls to the others: the most that an image may take is raised until the mean is
        reached, or until more would be of no use.
        """
        most = max(1, ceil(calls))
        found = self.searched(asked, seed, self._without_steps(most))
        while found.calls < calls and most < MOST_REJECTED * calls and not bool(found.accepted.all()):
            most = ceil(most * RAISED)
            found = self.searched(asked, seed, self._without_steps(most))
        return found

    def post_hoc(self, count: int, seed: int) -> Made:
        """Unguided images, each labelled with the class that the guide finds most likely."""
        made = self.searched(torch.zeros(count, dtype=torch.int64), seed, self._without_steps(1))
        logits = self._read(made.images)
        asked = self.generator.thresholds.shortfall(logits[:, None], self.table).amax(dim=2).argmin(dim=1)
        hits = self.hits(logits, asked)
        return Made(made.images, asked, hits, hits, made.critic, made.calls)

    def unstopped(self, asked: Tensor, seed: int, steps: int) -> Made:
        """So many steps with nothing that ends them."""
        sure = Thresholds(
            torch.full_like(self.generator.thresholds.present, 1.0 - SURE),
            torch.full_like(self.generator.thresholds.absent, SURE),
            self.generator.thresholds.critic_floor,
        )
        return self.searched(asked, seed, self.settings.model_copy(update={"steps": steps, "restarts": 0}), sure)

    def attacked(self, asked: Tensor, seed: int, *, jitter: int, steps: int = 120) -> Made:
        """The control: the same objective and the same end, on the pixels of unguided images instead of latents.

        Args:
            jitter: Looks beside the image itself; 0 is the attack as one would mount it.
        """
        rng = torch.Generator().manual_seed(seed)
        start, targets = self.unguided(asked, seed).images, self.table[asked]
        pixels = start.clone().requires_grad_()
        adam = torch.optim.Adam([pixels], lr=PIXEL_RATE)
        done, out = torch.zeros(len(asked), dtype=torch.bool), start.clone()
        for _ in range(steps + 1):
            seen = [self.generator.guide(look) for look in looks(pixels.clamp(-1, 1), jitter, rng)]
            short = torch.stack([self.generator.thresholds.shortfall(logits, targets) for logits in seen])
            out[~done] = pixels.detach().clamp(-1, 1)[~done]
            done |= short.detach().amax(dim=(0, 2)) <= 0.0
            if bool(done.all()):
                break
            adam.zero_grad()
            functional.softplus(short).sum(dim=2).mean(dim=0)[~done].sum().backward()
            adam.step()
        return Made(out, asked, self.hits(self._read(out), asked), done, None, 0.0)

    def _without_steps(self, calls: int) -> LatentClass:
        return self.settings.model_copy(update={"steps": 0, "restarts": calls - 1})

    @torch.no_grad()
    def _read(self, images: Tensor) -> Tensor:
        return torch.cat([self.generator.guide(part) for part in images.split(256)])


def asked_for(classes: int, each: int) -> Tensor:
    """(classes * each,) int64, classes in turn."""
    return torch.arange(classes).repeat(each)


def knows_nothing(maker: Maker, seed: int) -> bool:
    """Whether a guide that knows nothing leaves every image as the generator makes it from its first latent."""
    blind: Callable[[Tensor], Tensor] = lambda images: 0.0 * maker.generator.guide(images)  # noqa: E731
    rng, again = (torch.Generator().manual_seed(seed) for _ in range(2))
    found = optimise(
        maker.generator.painter, blind, None, maker.table, rng, maker.settings, maker.generator.thresholds, latent=maker.latent
    )  # fmt: skip
    first = torch.randn(len(maker.table), 1 + maker.settings.restarts, maker.latent, generator=again)[:, 0]
    with torch.no_grad():
        plain = maker.generator.painter(first).clamp(-1.0, 1.0)
    return torch.allclose(found.pictures, plain, atol=1e-4)
