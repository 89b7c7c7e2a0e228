"""A tiny private archive in memory, and policies that train on it in a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.policy.schema import Policy

Rows = npt.NDArray[np.int64]


class Archive:
    """Sixteen-pixel discs: class 0 small, class 1 large; the mask is the disc."""

    def __init__(self, patients: int = 24, images_each: int = 2, seed: int = 0, masks_missing: int = 0) -> None:
        rng = np.random.default_rng(seed)
        total = patients * images_each
        self.labels: Rows = (np.arange(total) // images_each % 2).astype(np.int64)
        self.owner = np.arange(total) // images_each
        self.has_mask = np.ones(total, dtype=bool)
        self.has_mask[:masks_missing] = False
        y, x = np.mgrid[:16, :16] - 7.5
        radius = 3 + 2.5 * self.labels + rng.normal(0, 0.3, total)
        disc = np.hypot(y, x)[None] < radius[:, None, None]
        self._masks = disc[:, None].astype(np.float32)
        self._images = (self._masks - 0.5 + rng.normal(0, 0.05, self._masks.shape)).astype(np.float32)
        self.patients = np.arange(patients, dtype=np.int64)

    def images(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, 1, 16, 16)."""
        return self._images[rows]

    def masks(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, 1, 16, 16)."""
        return self._masks[rows]

    def rows_of(self, patient_index: int) -> Rows:
        """Rows of a patient."""
        return np.flatnonzero(self.owner == patient_index).astype(np.int64)

    def spoil(self, row: int, value: float) -> None:
        """Put a value into one pixel."""
        self._images[row, 0, 3, 3] = value


def policy(generator: str, mode: str, settings_of: dict[str, Any] | None = None, **privacy: Any) -> Policy:
    """A policy for the discs; ``settings_of`` the generator, over the small ones here."""
    claim = {"epsilon": 1.0, "delta": 1e-3, "expected_patients": 24, "sampling_probability": 0.5, "steps": 6}
    settings: dict[str, Any] = {"name": generator, "image_frequencies": 4, "mask_frequencies": 3}
    if generator == "diffusion":
        settings |= {"width": 8, "warmup_steps": 4, "steps": 6, "batch": 8, "sampler_steps": 2}
    if generator == "pggan":
        settings |= {"width": 8, "latent": 8, "warmup_steps": 12, "steps": 14, "batch": 8, "lco": {"steps": 3}}
        settings |= {"minibatch_stddev": mode == "none", "penalty_weight": 1.0 if mode == "none" else 0.0}
    settings |= settings_of or {}
    return Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": "internal"},
            "roles": {"operator": "Operator", "custodian": "Custodian"},
            "cohort": {"name": "discs", "classes": ("small", "large"), "segments": ("nodule",), "resolution": 16},
            "privacy": {"mode": mode, **({**claim, **privacy} if mode == "private" else privacy)},
            "generator": settings,
        }
    )
