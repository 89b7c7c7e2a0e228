"""The encoders that ship: fitted to invented chests alone, so no patient had a part in them.

The files in `weights` are what `make_public` gives, rounded to half precision; training them again takes minutes. With
the same torch on the same kind of processor it gives the same bytes. Another kind rounds sums otherwise, which grows
over hundreds of steps: the record is then the same and the weights are alike as a whole (`copies` fitted again on an
AMD processor correlates with the shipped one at 0.98 and above in every layer), not bit by bit.

Greys of phantoms vary widely while the landmark encoder learns, because the radiographs it will meet were windowed by
other hands.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.uld.encoder import Encoder, Provenance, Role
from synthrelease.features.uld.fitting import fit
from synthrelease.features.uld.recipe import Recipe
from synthrelease.features.uld.sources import ArraySource
from synthrelease.records.progress import Progress, Silent

PATIENTS, SEED, SIDE = 400, 20_262, 64
"""Phantoms that both encoders are fitted to."""

LANDMARKS = Recipe(side=SIDE, steps=600, halve_every=300)


@cache
def public_encoder(role: Role) -> Encoder:
    """The shipped encoder of a role.

    Raises:
        UnsuitableData: The installation lacks the file, or it is damaged.
    """
    with as_file(files("synthrelease.features.uld") / "weights" / f"{role}.safetensors") as path:
        return Encoder.load(path)


def make_public(role: Role, progress: Progress | None = None, *, state: Path | None = None) -> Encoder:
    """Fit the encoder of a role to phantoms by the fixed recipe; ``state`` as in `fit`."""
    progress = progress or Silent()
    source = phantom_source(progress)
    network: nn.Module
    recipe: dict[str, Any]
    if role == "landmarks":
        network, recipe = fit(source, LANDMARKS, state=state, progress=progress), LANDMARKS.to_json()
    else:
        from synthrelease.features.uld import local

        network = local.fit_local(source, local.PUBLIC_RECIPE, state=state, progress=progress)
        recipe = local.PUBLIC_RECIPE.to_json()
    told = {**recipe, "phantoms": {"patients": PATIENTS, "seed": SEED, "side": SIDE}}
    return Encoder(role, network, Provenance("public", "invented chests; no patient", recipe=told)).rounded()


def phantom_source(progress: Progress | None = None, *, patients: int = PATIENTS, seed: int = SEED) -> ArraySource:
    """Phantoms at 64 px with the patient of each image."""
    progress = progress or Silent()
    progress.stage("phantoms", patients)
    images, people = [], []
    for index in range(patients):
        for image in simulate_patient(seed, index, SIDE).images:
            images.append(image.pixels)
            people.append(index)
        progress.step(index + 1)
    return ArraySource(np.stack(images)[:, None] * np.float32(2) - np.float32(1), np.array(people, dtype=np.int64))
