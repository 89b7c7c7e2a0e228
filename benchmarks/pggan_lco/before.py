"""What a private run is before its private steps: closed-form moments, and networks warmed up on their samples.

Both are of the run itself, so that what its private steps add is seen with nothing else changed: the same released sums,
the same seed, the same networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.pggan_lco.runs import Trained
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.cohort.store import Split
from synthrelease.generators.moments.basis import Basis
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.pggan.model import PgganGenerator
from synthrelease.generators.protocol import Batch, Generator
from synthrelease.privacy.account import Account
from synthrelease.privacy.noise import OsNoise
from synthrelease.training.checkpoint import Checkpoint
from synthrelease.training.loop import seeded
from synthrelease.training.moments import fit_moments
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.planning import plan_of, spec_of
from synthrelease.training.run import CALIBRATION_BATCHES
from synthrelease.workflow.scoring import as_trained

NAMES = {"moments": "its moments alone", "warm_up": "after the warm-up on their samples"}
SEED = 30_000


def stages(trained: Trained) -> dict[str, Generator]:
    """The generators that a private run was on its way to its last step, by the keys of :data:`NAMES`.

    A run without private steps ends with its warm-up.
    """
    moments = moments_of(trained)
    return {"moments": moments} | ({"warm_up": warmed_up(trained, moments)} if trained.policy.privacy.steps else {})


def moments_of(trained: Trained) -> MomentsGenerator:
    """From the sums that the run released; nothing is released again."""
    plan, spec, settings = plan_of(trained.policy), spec_of(trained.policy), trained.settings
    assert plan is not None
    checkpoint = Checkpoint(trained.run.checkpoint)
    account = Account(checkpoint.account_path, plan, checkpoint.identity().reservation, resume=True)
    store, basis = trained.cohort, Basis(spec, settings)
    patients = TrainingPatients(store, store.patients(Split.TRAIN), spec.segments)
    found = fit_moments(
        patients, basis, spec.classes, account=account, noise=OsNoise(), known=checkpoint.sums(), keep=_nothing_new
    )
    return found.generator(spec, settings)


def warmed_up(trained: Trained, moments: MomentsGenerator) -> PgganGenerator:
    """The networks one step before the end of their warm-up, calibrated as the run's last ones are."""
    made = PgganGenerator(spec_of(trained.policy), trained.settings)
    assert as_trained(made, load_file(trained.warmed)) is made
    made.calibrate(_samples(trained, moments))
    return made


def archive_of(generator: Generator, like: ImageSet) -> tuple[ImageSet, Tensor]:
    """An archive with as many images of each class as another has, and its images (N, 1, H, W)."""
    labels = torch.from_numpy(like.labels.astype(np.int64))
    made = generator.sample(labels, torch.Generator().manual_seed(SEED))
    masks = made.masks.numpy().astype(np.float32)
    return ImageSet(made.images.numpy(), masks, like.labels, np.arange(len(labels))), made.images


def case_with(case: AuditCase, archive: ImageSet) -> AuditCase:
    """The same case over another archive."""
    return AuditCase(case.train, case.holdout, archive, case.classes, case.segments)


def _samples(trained: Trained, moments: MomentsGenerator) -> Iterator[Batch]:
    settings = trained.settings
    for number in range(CALIBRATION_BATCHES):
        rng = seeded(settings.seed, "calibration", number)
        yield moments.sample(torch.randint(moments.spec.classes, (settings.batch,), generator=rng), rng)


def _nothing_new(name: str, value: Any) -> None:
    raise AssertionError(f"{name} was released by the run already")
