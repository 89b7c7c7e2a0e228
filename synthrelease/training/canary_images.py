"""Image canaries: strange pictures of strange patients, put through a whole training; seen from outside.

The attacker holds a picture and the finished generator, nothing of the training. Blank, checkered and noisy pictures
with one class between them are as unlike a patient as can be. A network is asked how well it explains the picture, over
many noise levels; a closed form, which has no loss, how near its samples come.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.generators.protocol import Batch, Generator, Player, Spec
from synthrelease.generators.registry import load_generator
from synthrelease.policy.schema import Policy
from synthrelease.privacy.noise import NoiseSource
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Progress
from synthrelease.training.canaries import Planted, WithCanaries
from synthrelease.training.canary_dirac import PHANTOMS
from synthrelease.training.canary_phantoms import phantom_store
from synthrelease.training.planning import spec_of
from synthrelease.training.train import train_with

Array = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

KINDS = ("blank", "checkerboard", "noise")
SEED = 20260103
"""Of the pictures, which are no secret; who takes part is one."""
SIGMA_DRAWS = 64
SAMPLES = 512
WARM_UP = 100
"""Steps on samples of the private sums, at most: they look at no patient, and the audit need not wait for them."""


def strange_pictures(canaries: int, resolution: int) -> Floats:
    """(m, 1, H, W) in [-1, 1]: blank, checkerboard, noise in turn, each of its own level, period or pattern."""
    rng = np.random.default_rng(SEED)
    out = np.empty((canaries, 1, resolution, resolution), dtype=np.float32)
    row, column = np.mgrid[:resolution, :resolution]
    for i in range(canaries):
        kind, level = KINDS[i % len(KINDS)], rng.uniform(0.5, 1.0) * rng.choice([-1.0, 1.0])
        if kind == "blank":
            out[i, 0] = level
        elif kind == "checkerboard":
            period, shift = int(rng.integers(1, 1 + resolution // 4)), rng.integers(resolution, size=2)
            out[i, 0] = level * (1 - 2 * (((row + shift[0]) // period + (column + shift[1]) // period) % 2))
        else:
            out[i, 0] = rng.choice([-1.0, 1.0], size=(resolution, resolution))
    return out


def image_scores(policy: Policy, included: Coins, noise: NoiseSource, progress: Progress) -> Array:
    """Train once on phantoms and the canaries that take part, and ask the generator about every canary.

    Args:
        policy: What is trained; its cohort is not looked at, and its ledger neither.
        included: (m,) the coins.
        noise: Of the training.
        progress: Told how far it is.

    Returns:
        (m,) higher where the generator knows the picture better, comparable within a kind and between kinds.
    """
    spec = spec_of(policy)
    pictures = strange_pictures(len(included), spec.resolution)
    labels = np.full(len(included), spec.classes - 1, dtype=np.int64)
    phantoms = phantom_store(spec, PHANTOMS, policy.cohort.phantom.seed)
    store = WithCanaries(
        phantoms,
        phantoms.patients,
        Planted(labels[included], pictures[included]),
        (spec.segments, spec.resolution, spec.resolution),
    )
    with TemporaryDirectory() as folder:
        train_with(
            _apart(policy),
            store,
            store.patients,
            "phantoms and canaries",
            Path(folder) / "run",
            ledger=Ledger(Path(folder) / "ledger.jsonl"),
            resume=False,
            progress=progress,
            stop_after=None,
            noise=noise,
        )
        generator = load_generator(Path(folder) / "run" / "checkpoint")
    return _within_kinds(_known(generator, spec, pictures, labels, progress))


def _apart(policy: Policy) -> Policy:
    """The policy on simulated patients with a short warm-up."""
    settings = policy.generator
    if getattr(settings, "warmup_steps", 0) > WARM_UP:
        settings = settings.model_copy(update={"warmup_steps": WARM_UP})
    cohort = policy.cohort.model_copy(update={"source": "phantom"})
    return policy.model_copy(update={"generator": settings, "cohort": cohort})


def _known(
    generator: Generator, spec: Spec, pictures: Floats, labels: npt.NDArray[np.int64], progress: Progress
) -> Array:
    progress.stage("canaries: asking the generator")
    batch = Batch(
        images=torch.from_numpy(pictures),
        masks=torch.zeros(len(pictures), spec.segments, spec.resolution, spec.resolution),
        labels=torch.from_numpy(labels),
    )
    players = [player for player in generator.players() if player.sees_real]
    with torch.no_grad():
        if not players:
            return -_nearest(generator, batch)
        losses: Array = np.stack([_loss(player, batch) for player in players]).sum(axis=0)
        return -losses


def _loss(player: Player, batch: Batch) -> Array:
    """(m,) mean loss over noise levels; every picture meets the same ones."""
    player.module.eval()
    found = np.empty(len(batch.labels))
    for i in range(len(found)):
        own = [value[i : i + 1].expand(SIGMA_DRAWS, *value.shape[1:]) for value in (batch.images, batch.masks)]
        same = Batch(own[0], own[1], batch.labels[i : i + 1].expand(SIGMA_DRAWS))
        inputs = player.draw(same, torch.Generator().manual_seed(SEED))
        found[i] = float(player.loss(player.module, inputs).mean())
    return found


def _nearest(generator: Generator, batch: Batch) -> Array:
    """(m,) root-mean-square distance to the nearest of many samples of the class."""
    rng = torch.Generator().manual_seed(SEED)
    samples = generator.sample(batch.labels[:1].repeat(SAMPLES), rng).images.flatten(1)
    distances = torch.cdist(batch.images.flatten(1), samples).min(dim=1).values
    found: Array = distances.double().numpy() / np.sqrt(samples.shape[1])
    return found


def _within_kinds(scores: Array) -> Array:
    """Each score less its kind's median, over the kind's median deviation: a blank is easier than noise for anybody."""
    out = np.empty_like(scores)
    for kind in range(len(KINDS)):
        own = scores[kind :: len(KINDS)]
        away = own - np.median(own) if len(own) else own
        out[kind :: len(KINDS)] = away / max(float(np.median(np.abs(away))) if len(own) else 1.0, 1e-12)
    return out
