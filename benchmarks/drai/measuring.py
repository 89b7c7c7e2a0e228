"""What one row of the table, trained with one seed, is like: conditioning first, then disentanglement beside fidelity."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.drai.cohort import Known, chests, phantoms
from benchmarks.drai.probes import (
    Judge,
    balanced,
    class_told,
    judge_of_findings,
    judge_of_style,
    numbers_told,
)
from benchmarks.drai.ways import Way, reconstruction, trained
from synthrelease.features.distances import frechet
from synthrelease.generators.drai.model import DraiGenerator

GRID = 60
"""Styles that every pair of contents is drawn with, for swaps and for feature consistency."""


@dataclass(frozen=True)
class Effort:
    """How long everything takes: steps of a generator, of a judge and of a probe; patients and samples."""

    steps: int
    judge_steps: int
    probe_steps: int
    patients: int
    samples: int


WHOLE = Effort(steps=1200, judge_steps=1500, probe_steps=500, patients=4500, samples=900)
QUICK = Effort(steps=8, judge_steps=10, probe_steps=10, patients=120, samples=30)


@dataclass(frozen=True)
class Bench:
    """Known images, and networks fitted on the training ones that judge them all."""

    train: Known
    held_out: Known
    findings: Judge
    style: Judge
    effort: Effort


def bench(effort: Effort, *, real: bool = False) -> Bench:
    """The simulated cohort, or the real one, with its judges."""
    train, held_out = chests() if real else phantoms(effort.patients)
    findings, style = (fitted(train, steps=effort.judge_steps) for fitted in (judge_of_findings, judge_of_style))
    return Bench(train, held_out, findings, style, effort)


def measured(way: Way, seed: int, on: Bench, note: Callable[[str], None]) -> tuple[dict[str, Any], DraiGenerator]:
    """Figures of one row with one seed, and its generator."""
    began = time.process_time()
    generator = trained(way, on.train, seed=seed, steps=on.effort.steps, note=note)
    spent = time.process_time() - began
    figures = {
        "cpu_s_a_step": spent / on.effort.steps,
        **conditioning(generator, on),
        **swaps(generator, on),
        **(codes(generator, on) if way.infers else {}),
    }
    note(
        f"{way.name}, seed {seed}: "
        + ", ".join(f"{name} {v:.2f}" for name, v in figures.items() if isinstance(v, float))
    )
    return figures, generator


def conditioning(generator: DraiGenerator, on: Bench) -> dict[str, float]:
    """Whether samples are of their class, how far they are from real images, and how much they vary.

    Returns:
        class_accuracy: Balanced, by a classifier of real images; that on held-out real images stands beside it.
        relative_frechet: Distance to held-out images in that classifier's features, over the distance of training images to
            them; 1 is as far as real from real.
        diversity: Standard deviation of a pixel within a class, over that of real images.
    """
    labels = torch.arange(on.effort.samples) % len(on.train.classes)
    made = generator.sample(labels, torch.Generator().manual_seed(11))
    real = on.held_out.batch
    with torch.no_grad():
        told, told_real = (on.findings(images).argmax(dim=1) for images in (made.images, real.images))
        near, far, own = (
            on.findings.features(images).double().numpy()
            for images in (on.train.batch.images, made.images, real.images)
        )
    spread = [
        made.images[labels == c].std(dim=0).mean() / real.images[real.labels == c].std(dim=0).mean()
        for c in range(len(on.train.classes))
    ]
    return {
        "class_accuracy": balanced(told, labels),
        "class_accuracy_real": balanced(told_real, real.labels),
        "relative_frechet": frechet(own, far) / max(frechet(own, near), 1e-9),
        "diversity": float(torch.stack(spread).mean()),
    }


def swaps(generator: DraiGenerator, on: Bench) -> dict[str, float]:
    """What the two codes do, on a grid of one content a class and many styles.

    Returns:
        class_kept: Share of images whose class is that of their content, whatever the style.
        style_of_the_style: Share of the style factors' variance over the grid that goes with the style; the rest goes with
            content and with both.
        style_usage, content_usage: Standard deviation of a pixel over styles, and over contents.
        cifc_like: 0 when a change of content does the same under every style and the other way round, 1 when the two are
            unrelated. Ours, in place of the paper's cross-image feature consistency, whose formula we do not have. A generator
            that ignores a code scores 0: read it beside the two usages.
    """
    labels = torch.arange(len(on.train.classes))
    made = generator.sample_grid(labels, GRID, torch.Generator().manual_seed(12))
    shape = (len(labels), GRID)
    with torch.no_grad():
        told = on.findings(made.images).argmax(dim=1)
        factors = on.style(made.images).reshape(*shape, -1)
        features = on.findings.features(made.images).reshape(*shape, -1)
    pixels = made.images.reshape(*shape, -1)
    by_style = factors.mean(dim=0).var(dim=0)
    whole = factors.reshape(-1, factors.shape[-1]).var(dim=0).clamp_min(1e-9)
    return {
        "class_kept": float((told == made.labels).float().mean()),
        "style_of_the_style": float((by_style / whole).mean()),
        "style_usage": float(pixels.std(dim=1).mean()),
        "content_usage": float(pixels.std(dim=0).mean()),
        "cifc_like": cifc_like(features),
    }


def cifc_like(features: Tensor) -> float:
    """Mean of 1 - cosine between what one content for another changes under two styles, and with the roles swapped.

    Args:
        features: (contents, styles, d).
    """
    contents, styles = features.shape[:2]
    down, across = features[1:] - features[:-1], features[:, 1:] - features[:, :-1]
    one = functional.cosine_similarity(down[:, : styles // 2], down[:, styles // 2 : 2 * (styles // 2)], dim=-1)
    other = functional.cosine_similarity(across[: contents - 1], across[1:], dim=-1)
    return float(1.0 - (one.mean() + other.mean()) / 2.0)


def codes(generator: DraiGenerator, on: Bench) -> dict[str, Any]:
    """What fresh probes tell from the codes of held-out images.

    Returns:
        class_from_content, class_from_style: Balanced accuracy. style_from_content, style_from_style: Mean over factors of the
            share of variance that is told, and each factor's. content_from_style: The same for the other code.
        reconstruction: Mean absolute difference of an image drawn again from its codes; grey values span 2.
    """
    seen, new = generator.infer(on.train.batch), generator.infer(on.held_out.batch)
    steps = {"steps": on.effort.probe_steps}
    out: dict[str, Any] = {"reconstruction": reconstruction(generator, on.held_out)}
    for name, own, other in (
        ("content", seen.content.mean, new.content.mean),
        ("style", seen.style.mean, new.style.mean),
    ):
        out[f"class_from_{name}"] = class_told(own, on.train.batch.labels, other, on.held_out.batch.labels, **steps)
        told = numbers_told(own, on.train.style, other, on.held_out.style, **steps)
        out[f"style_from_{name}"] = float(np.mean(told))
        out[f"factors_from_{name}"] = dict(zip(on.train.factors, told, strict=True))
    hidden = numbers_told(seen.style.mean, seen.content.mean, new.style.mean, new.content.mean, **steps)
    out["content_from_style"] = float(np.mean(hidden))
    return out


def picture(generator: DraiGenerator, *, contents: int = 3, styles: int = 10, zoom: int = 3) -> Image.Image:
    """The grid of contents (rows, classes in order) and styles (columns), beside it the masks of what was found."""
    labels = torch.arange(generator.spec.classes).repeat_interleave(contents)
    made = generator.sample_grid(labels, styles, torch.Generator().manual_seed(13))
    grey = _tiled((made.images[:, 0] + 1) / 2, len(labels), styles)
    marked = _tiled(made.masks.amax(dim=1), len(labels), styles)
    whole = (np.concatenate([grey, marked], axis=1).clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(whole).resize((whole.shape[1] * zoom, whole.shape[0] * zoom), Image.Resampling.NEAREST)


def _tiled(images: Tensor, rows: int, columns: int) -> np.ndarray:
    side = images.shape[-1]
    tiled: np.ndarray = images.reshape(rows, columns, side, side).permute(0, 2, 1, 3).reshape(rows * side, -1).numpy()
    return tiled
