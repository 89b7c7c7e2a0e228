"""Training images per second at each scale, against a plain DCGAN of the same size.

A step is what the training loop does for one batch of random pictures: critic on real and on generated pictures with its
penalty, then generator, each with Adam. The contender has strided convolutions of four by four pixels with batch norm,
as many channels as bring it closest to as many parameters, and no penalty. Both are timed in turns, in CPU seconds of one
thread; a figure is a median over rounds, and the ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.pggan.growth import Stage
from synthrelease.generators.pggan.model import PgganGenerator
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.policy.generators import PgganGenerator as Settings
from synthrelease.training.loop import Stepper, plain_gradient, step_together

SIDES = {False: 64, True: 32}
"""Full resolution, by whether it shall be quick."""
BATCH, WIDTH, LATENT = 16, 32, 64
ROUNDS = {False: 9, True: 3}
SMALLEST = 8
"""Scale from which a DCGAN has a strided layer."""

Step = Callable[[], None]


def measure(*, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    generator = progressive(SIDES[quick])
    rows = []
    for level, side in enumerate(generator.painter.sizes):
        if side < SMALLEST:
            continue
        note(f"throughput at {side} px")
        size, ours = progressive_step(generator, level)
        theirs_size, theirs = reference_step(side, size)
        seconds: list[tuple[float, float]] = [(timed(ours), timed(theirs)) for _ in range(1 + ROUNDS[quick])][1:]
        rows.append(
            {
                "side": side,
                "parameters": size,
                "images_per_second": BATCH / median(own for own, _ in seconds),
                "dcgan_parameters": theirs_size,
                "dcgan_images_per_second": BATCH / median(other for _, other in seconds),
                "seconds_over_dcgan": median(own / other for own, other in seconds),
            }
        )
    return {"batch": BATCH, "width": WIDTH, "scales": rows}


def progressive(side: int) -> PgganGenerator:
    """The generator with masks of one organ."""
    return PgganGenerator(Spec(side, 2, 1), Settings(name="pggan", width=WIDTH, latent=LATENT, batch=BATCH))


def progressive_step(generator: PgganGenerator, level: int) -> tuple[int, Step]:
    """Parameters in use at a scale, and one step of critic and generator there."""
    stage, full = Stage(level), generator.spec.resolution
    for network in (generator.painter, generator.critic):
        network.grow(stage)
    players = [player for player in generator.players() if player.name != "guide"]
    steppers = [Stepper(player, learning_rate=1e-3, decay=0.99) for player in players]
    rng = torch.Generator().manual_seed(0)
    images, masks = torch.rand(BATCH, 1, full, full, generator=rng), torch.rand(BATCH, 1, full, full, generator=rng)
    batch = Batch(2.0 * images - 1.0, masks, torch.zeros(BATCH, dtype=torch.int64))
    gradient = plain_gradient(lambda step, rng: batch, 0, "throughput")

    def step() -> None:
        for stepper in steppers:
            step_together((stepper,), gradient, 0)

    return sum(p.numel() for player in players for p in player.module.parameters() if p.requires_grad), step


def dcgan(side: int, width: int) -> tuple[nn.Module, nn.Module]:
    """Generator and critic of pictures with two channels (Radford, Metz, Chintala, ICLR 2016)."""
    channels = [width]
    while side // 2 ** len(channels) > 4:
        channels.append(2 * channels[-1])
    makes: list[nn.Module] = [nn.ConvTranspose2d(LATENT, channels[-1], 4), nn.BatchNorm2d(channels[-1]), nn.ReLU()]
    judges: list[nn.Module] = [nn.Conv2d(2, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for wide, narrow in pairwise(reversed(channels)):
        makes += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.ReLU()]
    for narrow, wide in pairwise(channels):
        judges += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
    makes += [nn.ConvTranspose2d(width, 2, 4, 2, 1), nn.Tanh()]
    judges += [nn.Conv2d(channels[-1], 1, 4), nn.Flatten(0)]
    return nn.Sequential(*makes), nn.Sequential(*judges)


def size_of(networks: tuple[nn.Module, ...]) -> int:
    """Parameters of all."""
    return sum(p.numel() for network in networks for p in network.parameters())


def reference_step(side: int, parameters: int) -> tuple[int, Step]:
    """Parameters of the DCGAN whose size is nearest, and one step of both its networks."""
    width = min(range(4, 257, 4), key=lambda each: abs(size_of(dcgan(side, each)) - parameters))
    makes, judges = dcgan(side, width)
    by_makes, by_judges = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in (makes, judges)
    )
    real = 2.0 * torch.rand(BATCH, 2, side, side, generator=torch.Generator().manual_seed(0)) - 1.0

    def made() -> Tensor:
        out: Tensor = makes(torch.randn(BATCH, LATENT, 1, 1))
        return out

    def step() -> None:
        by_judges.zero_grad()
        loss = functional.softplus(-judges(real)).mean() + functional.softplus(judges(made().detach())).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        by_judges.step()
        by_makes.zero_grad()
        loss = functional.softplus(-judges(made())).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        by_makes.step()

    return size_of((makes, judges)), step


def timed(step: Step) -> float:
    """CPU seconds of one step."""
    began = time.process_time()
    step()
    return time.process_time() - began


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """None: the figures tell what growing costs a step; what it gives is told by the other parts."""
    return {}


def page(figures: Mapping[str, Any]) -> list[str]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    lines = [
        "## Training images per second, one thread",
        "",
        f"Batches of {figures['batch']}; one step of the critic with its penalty and one of the generator.",
        "",
        "| scale | parameters | images / s | DCGAN parameters | DCGAN images / s | seconds over DCGAN |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["scales"]:
        lines.append(
            f"| {row['side']} px | {row['parameters']:,} | {row['images_per_second']:.0f} | {row['dcgan_parameters']:,} | "
            f"{row['dcgan_images_per_second']:.0f} | {row['seconds_over_dcgan']:.2f} |"
        )
    return lines
