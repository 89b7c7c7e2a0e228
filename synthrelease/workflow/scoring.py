"""Membership scores from a trained generator, for the audit, which does not know generators.

    diffusion    denoising loss at four noise levels, with the same noise for every image (Carlini et al. 2023), and
                 the norm of the score of the clean image at three small ones, one query each (SimA, 2025)
    moments      log density of the image's features under the class's Gaussian
    others       minus the loss of each player that sees real images (a critic's judgement: LOGAN, 2019), with the same
                 randomness for every image

The scores touch real images and leave the house in no form but the audit's verdict: what audit.json says of them is
outside the differential privacy of the release, as is all of an audit on real images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthrelease.audit.case import AuditCase, Scorer
from synthrelease.audit.images import ImageSet
from synthrelease.generators.diffusion.model import DiffusionGenerator, pictures
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Batch, Generator, Player
from synthrelease.generators.registry import load_generator
from synthrelease.generators.weights import put, under
from synthrelease.records.runs import Run
from synthrelease.training.checkpoint import Checkpoint

Array = npt.NDArray[np.float64]

NOISE_LEVELS = (0.1, 0.3, 0.8, 2.0)
"""Around the levels that training draws most; memorised images differ least from others in pure noise and in none."""

NORM_LEVELS = (0.05, 0.1, 0.2)
DRAWS = 4
SEED = 20260106
CHUNK = 64


def with_model(case: AuditCase, run: Run) -> AuditCase:
    """The case with what only the house has: scores from the run's checkpoint, and the claim that training made.

    Raises:
        IntegrityError: The checkpoint is damaged.
    """
    privacy: dict[str, Any] = run.read(run.training, "train")["privacy"]
    return replace(
        case,
        scorer=scorer_of(_whole(run)),
        claimed_epsilon=privacy.get("epsilon"),
        claimed_delta=privacy.get("delta"),
    )


def _whole(run: Run) -> Generator | None:
    generator = load_generator(run.checkpoint)
    if isinstance(generator, DiffusionGenerator | MomentsGenerator):
        return generator
    return as_trained(generator, Checkpoint(run.checkpoint).weights())


def as_trained(generator: Generator, kept: Mapping[str, Tensor]) -> Generator | None:
    """A generator from its checkpoint, with everything that judged or read images while it was trained.

    A finished generator is what sampling needs: critics and encoders are not in it. Left as they were born, they would know
    no patient, and say so.

    Args:
        generator: See :func:`.load_generator`.
        kept: See :meth:`.Checkpoint.weights`.

    Returns:
        The same, its players with their last weights; None where those of one were not kept.

    Raises:
        IntegrityError: The weights belong to another policy.
    """
    for player in generator.players():
        weights = under(kept, f"{player.name}/weight")
        if not weights:
            return None
        if player.averaged:
            weights |= under(kept, f"{player.name}/average")
        put(player.module, weights, f"the {player.name}")
    return generator


def scorer_of(generator: Generator | None) -> Scorer | None:
    """Membership scores that the generator gives to images; None where it can say nothing of a real image."""
    if generator is None:
        return None
    if isinstance(generator, DiffusionGenerator):
        return _scores(lambda images: _denoising(generator, images))
    if isinstance(generator, MomentsGenerator):
        return _scores(lambda images: {"log_density": _log_density(generator, images)})
    players = [player for player in generator.players() if player.sees_real]
    if not players:
        return None
    return _scores(lambda images: {f"{player.name}_loss": -_mean_loss(player, images) for player in players})


def _scores(score: Callable[[Batch], dict[str, Tensor]]) -> Scorer:
    """A scorer that reads an image set in chunks."""

    def scorer(images: ImageSet) -> dict[str, Array]:
        parts: dict[str, list[Array]] = {}
        with torch.no_grad():
            for batch in _batches(images):
                for name, values in score(batch).items():
                    parts.setdefault(name, []).append(values.double().numpy())
        return {name: np.concatenate(values) for name, values in parts.items()}

    return scorer


def _batches(images: ImageSet) -> Iterator[Batch]:
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        yield Batch(
            torch.from_numpy(np.ascontiguousarray(images.images[rows])),
            torch.from_numpy(np.ascontiguousarray(images.masks[rows], dtype=np.float32)),
            torch.from_numpy(images.labels[rows]),
            # Blank masks of who has none would tell who was annotated, not who was trained on.
            labelled=torch.from_numpy(np.ascontiguousarray(images.has_mask[rows])) if images.masks.shape[1] else None,
        )


def _denoising(generator: DiffusionGenerator, batch: Batch) -> dict[str, Tensor]:
    """Scores of the image channel; masks may be missing and would then tell of that alone."""
    clean = pictures(batch)
    denoiser = generator.denoiser.eval()
    found: dict[str, Tensor] = {}
    for level in NOISE_LEVELS:
        rng = torch.Generator().manual_seed(SEED)
        loss = torch.zeros(len(clean), dtype=torch.float64)
        for _ in range(DRAWS):
            noise = torch.randn(1, *clean.shape[1:], generator=rng)
            denoised = denoiser(clean + level * noise, torch.full((len(clean),), level), batch.labels)
            loss += ((denoised - clean)[:, 0] ** 2).mean(dim=(1, 2)).double()
        found[f"denoising_loss_{level:g}"] = -loss / DRAWS
    norms = torch.zeros(len(clean), dtype=torch.float64)
    for level in NORM_LEVELS:
        moved = denoiser(clean, torch.full((len(clean),), level), batch.labels) - clean
        norms += moved[:, 0].flatten(1).norm(dim=1).double() / level**2
    found["score_norm"] = -norms
    return found


def _log_density(generator: MomentsGenerator, batch: Batch) -> Tensor:
    """Up to a constant; directions in which the covariance is flat are left out."""
    state = generator.state()
    features = torch.from_numpy(generator.basis.features(batch.images.numpy(), batch.masks.numpy()))
    whitened = (features - state["means"][batch.labels]) @ torch.linalg.pinv(state["root"], rtol=1e-6).T
    density: Tensor = -0.5 * (whitened**2).sum(dim=1)
    return density


def _mean_loss(player: Player, batch: Batch) -> Tensor:
    """(N,) loss over a few draws; every image meets the same randomness, hence one at a time.

    Where a player judges every row alike, what was drawn is judged together: in half of the time.
    """
    player.module.eval()
    each = [
        Batch(
            batch.images[i : i + 1],
            batch.masks[i : i + 1],
            batch.labels[i : i + 1],
            labelled=None if batch.labelled is None else batch.labelled[i : i + 1],
        )
        for i in range(len(batch.labels))
    ]
    at_once = len(each) if player.rows_alike else 1
    streams = [torch.Generator().manual_seed(SEED) for _ in each]
    losses = torch.zeros(len(each), dtype=torch.float64)
    for _ in range(DRAWS):
        drawn = [player.draw(one, rng) for one, rng in zip(each, streams, strict=True)]
        for start in range(0, len(drawn), at_once):
            part = drawn[start : start + at_once]
            inputs = {name: torch.cat([one[name] for one in part]) for name in part[0]}
            losses[start : start + at_once] += player.loss(player.module, inputs).double() / DRAWS
    return losses
