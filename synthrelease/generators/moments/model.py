"""The closed-form generator: one Gaussian a class, one covariance for all, sampled and turned back into images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthrelease.errors import IntegrityError
from synthrelease.generators.moments.basis import Array, Basis, Frequencies
from synthrelease.generators.moments.estimate import (
    OfMasks,
    denoised_covariance,
    joined_covariance,
    shrunken_means,
    square_root,
)
from synthrelease.generators.protocol import Batch, Player, Spec

# Outlines of organs are sharp; a low-frequency mask is not. A public contrast about one half gives the edge back.
MASK_CONTRAST = 2.0


class MomentsGenerator:
    """Class-conditional Gaussian over a public cosine basis. It computes from given moments and never sees an image.

    Without moments it is the public prior: mean zero, spread of the power law.

    Args:
        spec: Shape of what is generated.
        settings: Number of frequencies of the basis.
        means: (C, D) float64 class means in feature space.
        root: (D, D) float64 matrix R; the covariance is R R^T.
    """

    def __init__(
        self, spec: Spec, settings: Frequencies, means: Tensor | None = None, root: Tensor | None = None
    ) -> None:
        self.spec = spec
        self.basis = Basis(spec, settings)
        dimensions = self.basis.dimensions
        if means is None:
            means = torch.zeros(spec.classes, dimensions, dtype=torch.float64)
        if root is None:
            root = torch.diag(torch.from_numpy(self.basis.prior_spread))
        if means.shape != (spec.classes, dimensions) or root.shape != (dimensions, dimensions):
            raise IntegrityError(
                f"moments of shape {tuple(means.shape)} and {tuple(root.shape)} do not fit {spec.classes} classes "
                f"and {dimensions} features",
                fix="Train again: the checkpoint belongs to another policy.",
            )
        self._means = means.to(torch.float64)
        self._root = root.to(torch.float64)

    @classmethod
    def from_moments(
        cls,
        spec: Spec,
        settings: Frequencies,
        counts: npt.ArrayLike,
        means: npt.ArrayLike,
        covariance: npt.ArrayLike,
        *,
        mean_noise: npt.ArrayLike | None = None,
        covariance_noise: float = 0.0,
        of_masks: OfMasks | None = None,
    ) -> Self:
        """Fit to moments that are public already (noise was added, or no privacy is claimed).

        Args:
            spec: Shape of what is generated.
            settings: Number of frequencies of the basis.
            counts: (C,) class sizes; noise may have made them negative.
            means: (C, D) class means of ``Basis.features``.
            covariance: (D, D) covariance about the class means, common to all classes; need not be positive.
            mean_noise: (C,) standard deviation of the noise in each coordinate of the means; empty: none.
            covariance_noise: Standard deviation of the noise in each off-diagonal entry of ``covariance``.
            of_masks: Where fewer images have masks, what differs for them; None: as many have.

        Returns:
            A generator ready to sample.
        """
        sizes = np.asarray(counts, dtype=np.float64)
        noise = np.zeros_like(sizes) if mean_noise is None else np.asarray(mean_noise, dtype=np.float64)
        given, spread = np.asarray(means, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        basis = Basis(spec, settings)
        prior: Array = basis.prior_spread**2
        if of_masks is None:
            centres = shrunken_means(given, sizes, noise)
            spread = denoised_covariance(spread, covariance_noise, prior)
        else:
            image, masks = np.split(given, [basis.image_dimensions], axis=1)
            masks = shrunken_means(masks, of_masks.counts, of_masks.mean_noise)
            centres = np.hstack([shrunken_means(image, sizes, noise), masks])
            both = (covariance_noise, of_masks.covariance_noise)
            spread = joined_covariance(spread, both, prior, basis.image_dimensions)
        return cls(spec, settings, torch.from_numpy(centres), torch.from_numpy(square_root(spread)))

    @classmethod
    def from_state(cls, spec: Spec, settings: Frequencies, state: Mapping[str, Tensor]) -> Self:
        """The generator whose ``state()`` this is.

        Raises:
            IntegrityError: A tensor is missing or has another shape.
        """
        if set(state) != {"means", "root"}:
            raise IntegrityError(
                f"moments hold {', '.join(sorted(state)) or 'nothing'}; expected means, root",
                fix="Train again, or restore the checkpoint from a copy.",
            )
        return cls(spec, settings, state["means"], state["root"])

    def players(self) -> tuple[Player, ...]:
        """None: a closed form has nothing to train."""
        return ()

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index.

        Args:
            labels: (N,) int64.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            Images in [-1, 1] and masks in [0, 1].
        """
        normal = torch.randn(len(labels), self.basis.dimensions, dtype=torch.float64, generator=rng)
        features = self._means[labels] + normal @ self._root.T
        images, masks = self.basis.inverse(features.numpy())
        sharp = (masks - 0.5) * MASK_CONTRAST + 0.5
        return Batch(
            images=torch.from_numpy(images).clamp(-1.0, 1.0).to(torch.float32),
            masks=torch.from_numpy(sharp).clamp(0.0, 1.0).to(torch.float32),
            labels=labels,
        )

    def state(self) -> dict[str, Tensor]:
        """Class means (C, D) and the covariance's square root (D, D), float64."""
        return {"means": self._means, "root": self._root}
