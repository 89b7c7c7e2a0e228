"""Example inputs with realistic figures, and procedural chest images for both the cohort and the archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from synthrelease.report import ContactSheet, LookAlike, ReportInputs

SIZE = 64
SEGMENTS = ("right_lung", "left_lung", "heart", "nodule")
FOLDER = "/data/wards/ward-seven/chest"
Array = npt.NDArray[np.float64]


def chest(rng: np.random.Generator, nodule: bool) -> tuple[Array, Array]:
    """One procedural chest: image (H, W) in [-1, 1] and masks (4, H, W)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    tilt, wide = rng.normal(0, 0.02), rng.normal(0, 0.015)

    def blob(cx: float, cy: float, rx: float, ry: float) -> Array:
        return np.asarray(np.clip(1.6 - 1.6 * (((x - cx - tilt) / rx) ** 2 + ((y - cy) / ry) ** 2), 0, 1))

    right, left = blob(0.31, 0.5, 0.16 + wide, 0.32), blob(0.69, 0.5, 0.15 + wide, 0.31)
    heart = blob(0.55, 0.66, 0.14 + rng.normal(0, 0.015), 0.16)
    spot = blob(rng.uniform(0.25, 0.36), rng.uniform(0.35, 0.6), 0.05, 0.05) if nodule else np.zeros((SIZE, SIZE))
    ribs = 0.12 * np.sin(2 * np.pi * (7.5 * y + 1.5 * (x - 0.5) ** 2 + rng.uniform()))
    body = blob(0.5, 0.6, 0.6, 0.85)
    image = -0.9 + 1.25 * body - 0.85 * np.maximum(right, left) * (1 - 0.8 * heart) + 0.35 * heart + 0.5 * spot
    image = image + ribs * body + 0.25 * np.exp(-(((x - 0.5 - tilt) / 0.05) ** 2)) * body
    image = np.clip(image + rng.normal(0, 0.03, image.shape), -1, 1)
    return image, np.stack([right > 0.4, left > 0.4, heart > 0.4, spot > 0.4]).astype(float)


def finding(name: str, criterion: str, question: str, verdict: str = "pass", **changes: Any) -> dict[str, Any]:
    statistic = {
        "name": "rate",
        "value": 0.01,
        "low": 0.004,
        "high": 0.021,
        "confidence": 0.95,
        "direction": "lower is better",
    }
    return {
        "id": name,
        "question": question,
        "criterion": criterion,
        "verdict": verdict,
        "required": True,
        "statistic": {**statistic, **changes.pop("statistic", {})},
        "baseline": {"holdout": 0.0098765, "random": 0.01},
        "threshold": {"value": 0.05, "because": "five times chance; set by the review board before training"},
        "power": {"smallest_detectable": 0.0105, "unit": "of patients", "planted": {"copy": 1.0, "mirrored": 0.97}},
        "n": {"train": 2891, "holdout": 1239, "synthetic": 3000},
        "seed": 11,
        "seconds": 2.25,
        "reason": "The upper end of the interval stays below the threshold.",
        "p_value": 0.4123456,
        "p_adjusted": 0.8246912,
        "details": {"worst_patients": ["ZX-4711-KOWALSKI"]},
        **changes,
    }


def audit(verdict: str = "pass") -> dict[str, Any]:
    copies = {"name": "share of images that copy", "value": 0.0, "low": 0.0, "high": 0.00123456}
    return {
        "schema": "synthrelease.audit/1",
        "verdict": verdict,
        "reason": "All five required checks passed; one optional check was undecided.",
        "fidelity": "pass",
        "findings": [
            finding(
                "exact_copy",
                "singling_out",
                "Is a real image in the archive, turned, mirrored or windowed anew?",
                statistic=copies,
                threshold={"value": 0.005, "because": "the smallest rate that 3,000 images can exclude, halved"},
                power={
                    "smallest_detectable": 0.001,
                    "unit": "of images",
                    "planted": {"copy": 1.0, "mirrored": 1.0, "patch": 0.93},
                },
                baseline={"holdout": 0.0, "random": None},
            ),
            finding(
                "target_decoy",
                "singling_out",
                "Are synthetic images nearer to training patients than to patients never seen?",
                statistic={"name": "excess share", "value": 0.0041, "low": -0.0072, "high": 0.0163, "confidence": 0.95},
                threshold={"value": 0.02, "because": "two in a hundred; tolerance of the board"},
            ),
            finding(
                "membership",
                "membership",
                "Can somebody tell that a patient was in the cohort?",
                statistic={"name": "TPR at 1 % FPR", "value": 0.0123456, "low": 0.0071234, "high": 0.0212345},
            ),
            finding(
                "attribute",
                "inference",
                "Does the archive tell a patient's class better than the population does?",
                verdict="inconclusive" if verdict == "pass" else verdict,
                required=verdict != "pass",
                statistic={"name": "excess accuracy", "value": 0.021, "low": -0.031, "high": 0.0731},
                reason="The interval holds the threshold; about 2,400 more held-out patients would decide.",
            ),
            finding(
                "dice",
                "fidelity",
                "Do masks and images fit each other?",
                statistic={
                    "name": "Dice",
                    "value": 0.912345,
                    "low": 0.9,
                    "high": 0.92,
                    "direction": "higher is better",
                },
                threshold={"value": 0.85, "because": "agreement of two readers on real images"},
                power={"smallest_detectable": None, "unit": "", "planted": {}},
                baseline={"holdout": 0.954, "random": None},
            ),
            finding(
                "headers",
                "conformance",
                "Do headers hold anything that a policy did not put there?",
                statistic={"name": "objects with a foreign value", "value": 0.0, "low": 0.0, "high": 0.0},
                threshold={"value": 0.0, "because": "none is acceptable"},
                baseline={"holdout": None, "random": None},
                power={"smallest_detectable": 1, "unit": "object", "planted": {}},
                p_value=None,
                p_adjusted=None,
            ),
        ],
        "profile": "standard",
        "seed": 11,
        "digests": {"archive": "a" * 64, "training": "b" * 64, "policy": "c" * 64},
        "counts": {"train_patients": 2891, "holdout_patients": 1239, "synthetic_images": 3000},
        "versions": {"synthrelease": "0.1.0", "numpy": "2.4.6", "python": "3.11.7"},
    }


def approval(by: str, role: str, event: str = "approved") -> dict[str, Any]:
    return {
        "event": event,
        "by": by,
        "role": role,
        "statement": "I read the internal report and looked at every pair.",
        "time": "2026-03-01T09:30:00Z",
        "expires_on": "2027-03-01T09:30:00Z",
        "digests": {"audit": "d" * 64, "archive": "a" * 64, "training": "b" * 64},
    }


@dataclass(frozen=True)
class Example:
    """Inputs of both editions, and the real images that must never be in the external one."""

    external: ReportInputs
    internal: ReportInputs
    cohort: Array


def example(verdict: str = "pass") -> Example:
    rng = np.random.default_rng(5)
    labels = ["nodule" if index % 2 else "normal" for index in range(12)]
    drawn = [chest(rng, label == "nodule") for label in labels]
    real = [chest(rng, index % 2 == 1) for index in range(12)]
    cohort = np.stack([image for image, _ in real])
    sheet = ContactSheet(np.stack([d[0] for d in drawn]), labels, np.stack([d[1] for d in drawn]), SEGMENTS)
    external = ReportInputs(
        audit=audit(verdict),
        training={
            "privacy": {
                "mode": "private",
                "unit": "patient",
                "epsilon": 7.98321,
                "delta": 1e-5,
                "accountant": "PLD (dp-accounting 0.6)",
                "mechanisms": [
                    {"name": "moments", "noise_multiplier": 1.8312, "sampling_probability": 1.0, "steps": 1},
                    {"name": "gradients", "noise_multiplier": 0.9912, "sampling_probability": 0.1, "steps": 300},
                ],
                "risk": {
                    "mu": 2.002,
                    "membership_advantage": 0.6649,
                    "true_positive_rate": {"0.001": 0.131, "0.01": 0.355, "0.1": 0.766},
                    "reconstruction": {"0.001": 0.131},
                },
            }
        },
        archive={
            "images": 3000,
            "class_counts": {"normal": 1500, "nodule": 1000, "effusion": 500},
            "release_name": "chest-2026",
            "segments": list(SEGMENTS),
            "resolution": SIZE,
        },
        policy={
            "purpose": "Teach and test classifiers of chest radiographs without access to the hospital's archive",
            "sharing": {
                "tier": "controlled",
                "recipients": ["Example University, Institute of Imaging"],
                "agreement": "DSA-2026-31",
            },
            "roles": {
                "operator": "Olga Operator",
                "custodian": "Carl Custodian",
                "approvers": ["Ada Approver", "Ben Botham"],
            },
            "cohort": {"name": "chest", "source": FOLDER, "body_part": "CHEST", "modality": "DX"},
            "generator": {"name": "diffusion"},
            "release": {"name": "chest-2026", "expires_after_months": 12, "contact": "data-office@example.org"},
        },
        digests={"audit": "d" * 64, "archive": "a" * 64, "training": "b" * 64},
        approvals=[approval("Ada Approver", "privacy officer")],
        sheet=sheet,
        ledger={"composed_epsilon": 8.41, "delta": 1e-5, "runs": 2, "lifetime_epsilon": 10.0},
        date="2026-03-01",
        private=(FOLDER, "ZX-4711-KOWALSKI", "Olga Operator"),
    )
    pairs = [
        LookAlike(
            synthetic=drawn[index][0],
            nearest_train=cohort[index],
            nearest_holdout=cohort[index + 6],
            similarity_train=0.91 - 0.02 * index,
            similarity_holdout=0.90 - 0.015 * index,
            name=f"images/{index:06d}.dcm",
            patch=(20, 14, 18, 16) if index == 0 else None,
        )
        for index in range(4)
    ]
    pairs += [LookAlike(cohort[8], cohort[2], cohort[9], 0.885, 0.88, control=True)]
    pairs += [LookAlike(cohort[10], cohort[4], cohort[11], 0.845, 0.86, control=True)]
    return Example(external, replace(external, pairs=pairs), cohort)


@pytest.fixture(scope="session")
def inputs() -> Example:
    return example()
