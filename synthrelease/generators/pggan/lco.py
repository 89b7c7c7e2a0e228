"""Latent class optimisation: from an unconditional generator to images of a class that is asked for.

Named and motivated by Segal et al. (2021); neither their objective nor their acceptance rule is in a public text, so what
stands here is a reconstruction. With a frozen generator G, a frozen guide C (logits) and targets y in {0, 1/2, 1}:

    L(z) = sum_l softplus(s_l(z)) - w_c critic(G(z)) + w_a angle(z, z0)^2        z0 ~ N(0, I), on the sphere
    s_l  = logit(tau+_l) - C_l    where y_l = 1          (shortfall: how far finding l is from being accepted)
           C_l - logit(tau-_l)    where y_l = 0
           nothing                where y_l = 1/2
    z <- Adam step on L, averaged over looks;  z <- sqrt(d) z / |z|

A look is what the guide sees: the image itself, and shifted noisy copies of it. An image leaves as soon as every finding
is on its side in every look, s_l <= 0; going on would only make it a caricature. One that the critic then puts below
its floor is off the manifold and starts anew from a fresh z0, as does one that has not arrived after all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.generators.pggan.guide import reach, shifted
from synthrelease.generators.pggan.thresholds import Thresholds, calibrated
from synthrelease.generators.protocol import Batch

Generate = Callable[[Tensor], Tensor]
"""(n, d) latents on the sphere -> (n, 1 + K, H, W) pictures, clamped here to [-1, 1]. Row i of row i alone."""
Score = Callable[[Tensor], Tensor]
"""Guide: (n, 1, H, W) images -> (n, L) logits. Critic: (n, 1 + K, H, W) pictures -> (n,), higher = more real."""

CHUNK = 64
"""Images painted or steered together, up to WHOLE pixels a side; see :func:`chunk_at`."""
WHOLE = 128

LOOK_NOISE = 0.05
"""Standard deviation of a look's noise; grey values span 2."""

UNGUIDED = 512
"""Samples from which the critic's floor is taken."""


class Settings(Protocol):
    """How hard is searched; see the policy's ``generator.lco``."""

    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def restarts(self) -> int: ...
    @property
    def jitter(self) -> int: ...
    @property
    def critic_weight(self) -> float: ...
    @property
    def angle_weight(self) -> float: ...
    @property
    def present_at(self) -> float | None: ...
    @property
    def absent_at(self) -> float | None: ...


def chunk_at(resolution: int) -> int:
    """Images painted or steered together at ``resolution`` pixels a side: above 128, no more pixels than 64 images of 128 have.

    Steering keeps every layer's output for the gradient: of 64 images of 1024 pixels and 16 features one layer alone is
    4.3 GB. The number follows from the resolution and never from the machine, since another one may change the last bits:
    up to 128 pixels it is the 64 that it always was, and archives come out as they did.

    >>> [chunk_at(resolution) for resolution in (16, 128, 256, 512, 1024)]
    [64, 64, 16, 4, 1]
    """
    return max(1, min(CHUNK, CHUNK * WHOLE**2 // resolution**2))


@dataclass(frozen=True)
class Solution:
    """What was found for each target; the closest try where none was accepted.

    Attributes:
        latents: (N, d), on the sphere of radius sqrt(d).
        pictures: (N, 1 + K, H, W) in [-1, 1].
        probabilities: (N, L) of the guide, of the image itself.
        shortfall: (N,) in logits, the worst of all findings and looks; accepted images have at most 0.
        critic: (N,) its scores; 0 without a critic.
        restarts: (N,) int64 fresh starts beyond the first.
        calls: (N,) int64 pictures that the generator made for this one.
        accepted: (N,) bool.
    """

    latents: Tensor
    pictures: Tensor
    probabilities: Tensor
    shortfall: Tensor
    critic: Tensor
    restarts: Tensor
    calls: Tensor
    accepted: Tensor

    def notes(self, findings: Sequence[str]) -> dict[str, Tensor]:
        """What an archive tells of each image: (N,) float64 by name, the guide's probability by the finding's."""
        told = {"accepted": self.accepted, "restarts": self.restarts, "critic": self.critic}
        columns = zip(findings, self.probabilities.unbind(dim=1), strict=True)
        told |= {f"guide_{finding}": column for finding, column in columns}
        return {name: column.double() for name, column in told.items()}


@dataclass(frozen=True)
class _Judges:
    """Everything that is frozen while latents move."""

    generate: Generate
    guide: Score
    critic: Score | None
    settings: Settings
    thresholds: Thresholds


def on_sphere(latents: Tensor) -> Tensor:
    """(n, d) latents retracted to the sphere of radius sqrt(d), where standard normal ones lie."""
    return sqrt(latents.shape[1]) * functional.normalize(latents, dim=1)


def optimise(
    generate: Generate,
    guide: Score,
    critic: Score | None,
    targets: Tensor,
    rng: torch.Generator,
    settings: Settings,
    thresholds: Thresholds,
    *,
    latent: int,
    chunk: int = CHUNK,
) -> Solution:
    """Search one latent for each target; bit-equal for an equal ``rng``.

    With ``settings.steps`` 0 nothing is steered: restarts are then rejection sampling, and without them the images are
    unguided.

    Args:
        generate: The frozen generator. guide: The frozen guide. critic: The frozen critic; None: no floor.
        targets: (N, L), 1 present, 0 absent, 0.5 either.
        rng: Source of all randomness.
        settings: How hard is searched.
        thresholds: When a finding counts.
        latent: d. chunk: Images steered together; see :func:`chunk_at`.

    Returns:
        One picture for each target.
    """
    # A sampler may call under inference mode, where nothing has a gradient.
    with torch.inference_mode(False), torch.enable_grad():
        judges = _Judges(generate, guide, critic, settings, thresholds)
        starts = torch.randn(len(targets), 1 + settings.restarts, latent, generator=rng)
        chunks = zip(torch.split(starts, chunk), torch.split(targets.clone(), chunk), strict=True)
        parts = [_solved(judges, start, asked, rng) for start, asked in chunks]
        return Solution(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Solution)})


def _solved(judges: _Judges, starts: Tensor, targets: Tensor, rng: torch.Generator) -> Solution:
    """A chunk: fresh starts for whom the last one failed."""
    solution = _descended(judges, starts[:, 0], targets, rng)
    for attempt in range(1, starts.shape[1]):
        left = (~solution.accepted).nonzero().flatten()
        if len(left) == 0:
            break
        again = _descended(judges, starts[left, attempt], targets[left], rng)
        solution.restarts[left] = attempt
        _improve(solution, again, left)
    return solution


def _descended(judges: _Judges, starts: Tensor, targets: Tensor, rng: torch.Generator) -> Solution:
    """One descent from each start; the best picture of each path."""
    settings = judges.settings
    origin = on_sphere(starts)
    latents, first, second = origin.clone(), torch.zeros_like(origin), torch.zeros_like(origin)
    best: Solution | None = None
    active = torch.arange(len(starts))
    for step in range(settings.steps + 1):
        z = latents[active].requires_grad_(step < settings.steps)
        with torch.set_grad_enabled(step < settings.steps):
            pictures = judges.generate(z).clamp(-1.0, 1.0)
            told = [judges.guide(look) for look in looks(pictures[:, :1], settings.jitter, rng)]
            short = torch.stack([judges.thresholds.shortfall(logits, targets[active]) for logits in told])
        worst = short.detach().amax(dim=(0, 2))
        reached, score = worst <= 0.0, torch.zeros(len(active))
        if judges.critic is not None and bool(reached.any()):
            with torch.no_grad():
                score[reached] = judges.critic(pictures.detach()[reached])
        accepted = reached & (score >= judges.thresholds.critic_floor) if judges.critic is not None else reached
        # Off the manifold: worse than any honest miss.
        worst = torch.where(reached & ~accepted, torch.inf, worst)
        found = Solution(
            z.detach(), pictures.detach(), told[0].detach().sigmoid(), worst, score,
            torch.zeros_like(active), torch.ones_like(active), accepted,
        )  # fmt: skip
        if best is None:
            best = found
        else:
            _improve(best, found, active)
        stay = ~reached
        if step == settings.steps or not bool(stay.any()):
            break
        objective = functional.softplus(short).sum(dim=2).mean(dim=0)
        if settings.critic_weight and judges.critic is not None:
            objective = objective - settings.critic_weight * judges.critic(pictures)
        if settings.angle_weight:
            objective = objective + settings.angle_weight * _angle(z, origin[active]) ** 2
        (slope,) = torch.autograd.grad(objective[stay].sum(), z)
        active, slope = active[stay], slope[stay]
        first[active] = first[active].lerp(slope, 0.1)
        second[active] = second[active].lerp(slope**2, 0.001)
        move = first[active] / (1 - 0.9 ** (step + 1)) / ((second[active] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        latents[active] = on_sphere(latents[active] - settings.learning_rate * move)
    assert best is not None
    return _scored(judges, best)


def _improve(best: Solution, found: Solution, rows: Tensor) -> None:
    """Replace those ``rows`` of ``best`` that ``found``, one row for each of them, betters; count its calls."""
    best.calls[rows] += found.calls
    better = found.accepted | (found.shortfall < best.shortfall[rows])
    for name in ("latents", "pictures", "probabilities", "shortfall", "critic", "accepted"):
        getattr(best, name)[rows[better]] = getattr(found, name)[better]


def _scored(judges: _Judges, solution: Solution) -> Solution:
    """With the critic's score of pictures that never passed the guide, which it was not asked about."""
    if judges.critic is not None and not bool(solution.accepted.all()):
        rest = ~solution.accepted
        with torch.no_grad():
            solution.critic[rest] = judges.critic(solution.pictures[rest])
    return solution


def looks(images: Tensor, jitter: int, rng: torch.Generator) -> Iterable[Tensor]:
    """The images, and ``jitter`` copies of all, each copy shifted as one and with noise of its own."""
    yield images
    far = reach(images.shape[-1])
    for _ in range(jitter):
        down, right = torch.randint(-far, far + 1, (2,), generator=rng).tolist()
        yield shifted(images, down, right) + LOOK_NOISE * torch.randn(images.shape, generator=rng)


def _angle(one: Tensor, other: Tensor) -> Tensor:
    """(n,) angle between rows in radians; the clamp keeps the slope finite where they coincide."""
    return functional.cosine_similarity(one, other, dim=1).clamp(-1.0 + 1e-6, 1.0 - 1e-6).arccos()


def calibration(
    guide: Score,
    batches: Iterable[Batch],
    table: Tensor,
    generate: Generate,
    critic: Score | None,
    settings: Settings,
    *,
    latent: int,
    seed: int,
    chunk: int = CHUNK,
) -> Thresholds:
    """Thresholds on images that no network was trained on, and the critic's floor on unguided samples.

    Args:
        guide, generate, critic: Trained, frozen. batches: The images; read once, one batch at a time.
        table: (C, L) what each class asks of each finding.
        settings: ``present_at`` and ``absent_at`` overrule what is measured.
        latent: d. seed: Of the unguided samples. chunk: Of them painted together.
    """
    with torch.no_grad():
        seen = [(guide(batch.images).sigmoid(), table[batch.labels]) for batch in batches]
        known = torch.cat([p for p, _ in seen] or [torch.zeros(0, table.shape[1])])
        asked = torch.cat([t for _, t in seen] or [torch.zeros(0, table.shape[1])])
        made = calibrated(known, asked).fixed(settings.present_at, settings.absent_at)
        if critic is None:
            return made
        rng = torch.Generator().manual_seed(seed)
        starts = torch.split(on_sphere(torch.randn(UNGUIDED, latent, generator=rng)), chunk)
        return made.floored(torch.cat([critic(generate(z).clamp(-1.0, 1.0)) for z in starts]))
