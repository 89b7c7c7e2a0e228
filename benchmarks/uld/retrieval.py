"""Whose piece is it? Pasted squares of phantoms traced to their source by dense descriptors, place by place.

At each place of an image, a descriptor is compared with those of every patient within two pixels of it. Evidence that
the piece there is patient j's is

    log(1 - a_H) - log(1 - a_j),   a = best cosine, H = held-out patients,

and what counts is the place where it is largest. A fair descriptor finds clean images as near to train as to holdout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.uld.pastes import SEED, Paste, altered, world
from benchmarks.uld.reference import goal
from benchmarks.uld.ways import LANDMARK, PLAIN, SHIPPED, UNTRAINED, untrained
from synthrelease.features.patches import LEAST_CONTRAST, REACH, WINDOW
from synthrelease.features.uld.averaging import sliding
from synthrelease.features.uld.landmarks import WINDOW as BELL
from synthrelease.features.uld.public import public_encoder

Dense = Callable[[Tensor], Tensor]
"""(N, 1, H, W) images to (N, D, H, W) vectors of unit length."""

KINDS = {"exact": Paste(), "altered": Paste(altered), "altered_24": Paste(altered, 24)}
"""Squares of 16 px in place, or 24; altered: turned by 4 degrees, of another gain, blurred and with noise of 2 %."""

GLOBAL_PIXELS, GLOBAL_ULD = "pixels, whole image", "landmark ULD, mean of the image"
SLACK, STEP = 2, 2
COUNTS, QUICK = (100, 100, 40), (20, 20, 5)
NAMED, GAINED = 0.95, 0.3
"""Exact copies whose source is named, at least, and what training must add for altered ones."""

CHANCE = 0.2
"""Most exact copies that the whole image or an anatomy code may name; guessing names one in a hundred."""


def measure(*, quick: bool) -> dict[str, Any]:
    """By way: share of pieces whose source is named, how they stand apart from clean images, and what those lean to."""
    train, holdout, probes = QUICK if quick else COUNTS
    given = world("phantom", 64, (train, holdout, probes, probes))
    rng = np.random.default_rng(SEED)
    source = rng.permutation(train)[:probes]
    real = torch.from_numpy(np.concatenate([given.train.images, given.holdout.images]))
    clean = given.synthetic
    pasted = {name: paste(given.train.take(source), clean, rng).images for name, paste in KINDS.items()}
    rows: dict[str, Any] = {}
    with torch.inference_mode():
        for way, dense in _dense().items():
            gallery = dense(real)
            scores = {name: evidence(apart(dense(torch.from_numpy(x)), gallery), train) for name, x in pasted.items()}
            unlike = apart(dense(torch.from_numpy(clean.images)), gallery)
            quiet = evidence(unlike, train)
            back = evidence(torch.cat([unlike[..., train:], unlike[..., :train]], dim=2), holdout)
            rows[way] = {name: _judged(score, quiet, source) for name, score in scores.items()}
            rows[way]["clean_nearer_to_train"] = float((quiet.amax(1) > back.amax(1)).float().mean())
    return {"roles": [train, holdout, probes], "ways": rows}


def _judged(score: Tensor, clean: Tensor, source: np.ndarray) -> dict[str, float]:
    """Share named, and the area under the curve of pasted against clean images."""
    pasted, without = score.amax(dim=1), clean.amax(dim=1)
    above = (pasted[:, None] > without).float() + 0.5 * (pasted[:, None] == without).float()
    return {
        "named": float((score.argmax(dim=1) == torch.from_numpy(source)).double().mean()),
        "auroc": float(above.mean()),
    }


def evidence(unlike: Tensor, train: int) -> Tensor:
    """(M, train) best evidence over places for each of the first ``train`` of the gallery, against the others."""
    return (unlike[..., train:].amin(dim=2, keepdim=True) - unlike[..., :train]).amax(dim=0)


def apart(probes: Tensor, gallery: Tensor) -> Tensor:
    """(P, M, N) log(1 - best cosine) of every probe at each of P places and every patient within two pixels of it.

    Args:
        probes: (M, D, H, W). gallery: (N, D, H, W), or both (., D, 1, 1) for one vector an image.
    """
    mine, seen = probes, [gallery]
    if probes.shape[-1] > 1:
        edge = REACH + SLACK
        inner = slice(edge, probes.shape[-1] - edge, STEP)
        mine = probes[:, :, inner, inner]
        shifts = [(a, b) for a in range(-SLACK, SLACK + 1) for b in range(-SLACK, SLACK + 1)]
        last = probes.shape[-1] - edge
        seen = [gallery[:, :, edge + a : last + a : STEP, edge + b : last + b : STEP] for a, b in shifts]
    here = mine.flatten(2).permute(2, 0, 1)
    best = torch.full((len(here), len(probes), len(gallery)), -1.0)
    for shifted in seen:
        torch.maximum(best, here @ shifted.flatten(2).permute(2, 1, 0), out=best)
    return (1.0 - best).clamp(min=1e-4).log()


def _dense() -> dict[str, Dense]:
    landmarks = public_encoder("landmarks").network

    def embedded(images: Tensor) -> Tensor:
        return torch.cat([sliding(landmarks(block), BELL) for block in torch.split(images, 32)])

    return {
        GLOBAL_PIXELS: lambda images: _unit(images.flatten(1) - images.mean())[:, :, None, None],
        GLOBAL_ULD: lambda images: _unit(embedded(images).mean(dim=(2, 3)))[:, :, None, None],
        PLAIN: windows,
        LANDMARK: embedded,
        UNTRAINED: lambda images: _in_blocks(untrained(), images),
        SHIPPED: lambda images: _in_blocks(public_encoder("copies").network, images),
    }


def _in_blocks(network: torch.nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(block) for block in torch.split(images, 32)])


def windows(images: Tensor) -> Tensor:
    """Windows about every pixel without their mean, at unit length; nothing where there is no contrast."""
    padded = functional.pad(images, (REACH,) * 4, mode="replicate")
    raw = functional.unfold(padded, WINDOW).view(len(images), WINDOW**2, *images.shape[-2:])
    raw = raw - raw.mean(dim=1, keepdim=True)
    length: Tensor = raw.norm(dim=1, keepdim=True)
    return raw / length.clamp(min=LEAST_CONTRAST * WINDOW)


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Exact copies are named place by place and by nothing else, and training is what names altered ones."""
    ways = figures["ways"]
    exact = {way: row["exact"]["named"] for way, row in ways.items()}
    found = {f"named/exact by {way}": goal(NAMED, exact.get(way)) for way in (PLAIN, SHIPPED)}
    blind = (GLOBAL_PIXELS, GLOBAL_ULD, LANDMARK)
    found |= {f"named/blind: {way}": goal(CHANCE, exact.get(way), "at most") for way in blind}
    both = SHIPPED in ways and UNTRAINED in ways
    gain = ways[SHIPPED]["altered"]["named"] - ways[UNTRAINED]["altered"]["named"] if both else None
    found["named/altered beyond an untrained network"] = goal(GAINED, gain)
    return found


def page(figures: Mapping[str, Any]) -> list[str]:
    """The table."""
    train, holdout, probes = figures["roles"]
    kinds = [kind for kind in KINDS if all(kind in row for row in figures["ways"].values())]  # older records have fewer
    lines = [
        "",
        f"### Whose piece is it: {probes} squares of 16 px in phantoms, {train} patients, {holdout} held out",
        "",
        "Share whose source is named by dense search within two pixels, and the area under the curve against clean "
        "images in brackets. Altered: turned by 4 degrees, of another gain, blurred and noisy; 24: of 24 px. Leaning as above.",
        "",
        "| way | " + " | ".join(kinds) + " | leaning |",
        "|---|" + "---|" * (len(kinds) + 1),
    ]
    for way, row in figures["ways"].items():
        cells = [f"{row[kind]['named']:.2f} ({row[kind]['auroc']:.2f})" for kind in kinds]
        lines.append("| " + " | ".join([way, *cells, f"{row['clean_nearer_to_train']:.2f}"]) + " |")
    return lines
