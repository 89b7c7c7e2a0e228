"""Linkability: do two partial views of one training patient meet in the archive?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.excess_risk import AttackResult, measured
from synthrelease.audit.images import BoolArray, FloatArray, ImageSet
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.released import both_sides, column, released_names
from synthrelease.features.descriptors import at_audit_resolution, unit_length
from synthrelease.features.neighbours import nearest
from synthrelease.records.findings import Criterion, Direction

NAME = "excess of patients whose two views meet in one synthetic image"


class Linkability:
    """Two data holders, each with a part of the same patients, ask the archive whether their parts belong together."""

    id = "linkability"
    question = (
        "Can two partial records of a training patient (half images, image and mask, image and attributes) be linked?"
    )
    criterion = Criterion.LINKABILITY
    needs_sound_split = True
    explanation = Explanation(
        how="Each of two views of a patient (left and right half, image and masks, image and attributes) is looked up in "
        "the archive by itself. Where both lead to the same synthetic image, the views are linked. Links of training "
        "patients are compared with links of patients never seen.",
        good="Views of training patients meet no more often than those of patients never seen.",
        weakness="Views are compared as they lie, by correlation; an archive that copied few patients hardly moves the "
        "rate over all, and moved or mirrored copies are not met. The copy checks look for both.",
        source="Linkability attack with a control group, all patients as targets, rates over attacks that produced a "
        "guess: Giomi et al., Anonymeter, PoPETs 2023; Newcombe 1998.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Link by every pair of views; the worst counts."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        return measured(
            NAME,
            _attacks(case, case.synthetic),
            case.counts,
            random=1.0 / len(case.synthetic),
            planted={"the training set itself": _attacks(case, case.train)},
        )


def _attacks(case: AuditCase, archive: ImageSet) -> list[AttackResult]:
    """Every pair of views: whether any image of a patient has both views meet in one image of the archive."""
    patients = case.patients
    images = np.concatenate([patients.train.small, patients.holdout.small])
    half = images.shape[-1] // 2
    made = archive.small
    whole = _nearest(images, made)
    everyone = np.ones(len(images), dtype=np.bool_)
    left, right = (_nearest(images[:, :, part], made[:, :, part]) for part in (slice(half), slice(-half, None)))
    pairs = [("left and right half", left == right, everyone)]
    real_masks = np.concatenate([_masks(side) for side in (patients.train, patients.holdout)])
    drawn, ours = np.asarray(real_masks.any(axis=(1, 2))), _masks(archive)
    if drawn.any() and ours.any():
        pairs.append(("image and masks", whole == _nearest(real_masks, ours), drawn))
    names = [name for name in released_names(case) if name in archive.attributes]
    if names:
        real = np.stack([both_sides(patients, name) for name in names])
        stated = np.stack([column(archive, name) for name in names])
        known = np.all(real != "", axis=0) & np.array([bool(np.all(row == stated.T, axis=1).any()) for row in real.T])
        pairs.append(("image and attributes", np.all(real == stated[:, whole], axis=0), known))
    results = []
    for name, met, guessed in pairs:
        hit: BoolArray = np.zeros(patients.count, dtype=np.bool_)
        tried: BoolArray = np.zeros(patients.count, dtype=np.bool_)
        np.logical_or.at(hit, patients.column, met & guessed)
        np.logical_or.at(tried, patients.column, guessed)
        results.append(AttackResult.of(name, hit, tried, patients.train_count))
    return results


def _masks(images: ImageSet) -> FloatArray:
    """(N, S, S * K) masks side by side at the resolution of the copy search; (N, S, 0) where there are none."""
    layers = [at_audit_resolution(images.masks[:, k : k + 1]) for k in range(images.masks.shape[1])]
    side = images.small.shape[-1]
    return np.concatenate(layers, axis=2) if layers else np.zeros((len(images), side, 0), dtype=np.float32)


def _nearest(queries: FloatArray, gallery: FloatArray) -> npt.NDArray[np.int64]:
    """Best correlated gallery image of each query."""

    def flat(images: FloatArray) -> FloatArray:
        rows = images.reshape(len(images), -1)
        return unit_length(rows - rows.mean(axis=1, keepdims=True))

    return nearest(flat(queries), flat(gallery))[0]
