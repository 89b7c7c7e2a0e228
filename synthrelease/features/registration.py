"""Two images laid over each other: a smooth deformation found by Gauss-Newton steps, many pairs at once.

A probe I is read at x + u(x) so that it looks like a template T. The displacement is linear in few numbers,

    u(x) = sum_k a_k phi_k(x),     phi = 1, x, y (affine) and the slow cosines (bending),

and each step solves the least squares problem of I(x + u) + grad T . delta = T, both at zero mean and unit length, so
that grey scale and contrast do not matter. The gradient is the template's, so that the matrix is inverted once a pair
(inverse compositional registration). Bending is held back by a ridge.

Source: Baker and Matthews, Lucas-Kanade 20 years on, IJCV 2004; the normalisation as in Evangelidis and Psarakis, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn.functional import grid_sample

SMOOTHING = 0.025
"""Standard deviation of the Gaussian before registration, in shares of the side: 1.6 px at 64."""

AFFINE_STEPS = 6
BENDING_STEPS = 6
BENDING = 4
"""Cosines per axis that may bend an image; 4 follow a field that is smooth over a tenth of the side."""

RIDGE = 0.02
"""Weight of the bending's ridge, in units of the mean diagonal of the normal equations."""


@dataclass(frozen=True)
class Registration:
    """Geometry of registration for square images of ``side`` pixels, compared on their middle.

    Attributes:
        side: Pixels on a side. margin: Pixels at the border that are not compared.
    """

    side: int

    @property
    def margin(self) -> int:
        """One tenth of the side, so that what a zoom or a shift brings in from outside mostly stays out."""
        return max(1, self.side // 10)

    @property
    def width(self) -> int:
        """Pixels on a side of the middle."""
        return self.side - 2 * self.margin

    @cached_property
    def axis(self) -> torch.Tensor:
        """(width,) places of the middle's pixels, from -1 to 1 over the whole image."""
        half = (self.side - 1) / 2.0
        return (torch.arange(self.margin, self.side - self.margin, dtype=torch.float32) - half) / half

    @cached_property
    def functions(self) -> torch.Tensor:
        """(K, width, width): 1, row, column, then the slow cosines."""
        y, x = torch.meshgrid(self.axis, self.axis, indexing="ij")
        phase = (self.axis + 1.0) * (torch.pi / 2.0)
        waves = [torch.ones_like(y), y, x]
        for u in range(BENDING):
            for v in range(BENDING):
                if u + v:
                    waves.append(torch.outer(torch.cos(u * phase), torch.cos(v * phase)))
        return torch.stack(waves)

    @cached_property
    def _blur(self) -> torch.Tensor:
        """(side, side) the Gaussian as a matrix, rows of sum one, so that the border is repeated in effect."""
        places = torch.arange(self.side, dtype=torch.float32)
        weights = torch.exp(-0.5 * ((places[:, None] - places[None, :]) / (SMOOTHING * self.side)) ** 2)
        return weights / weights.sum(dim=1, keepdim=True)

    def smooth(self, images: torch.Tensor) -> torch.Tensor:
        """Gaussian-smoothed images (N, S, S)."""
        across = (images.reshape(-1, self.side) @ self._blur.T).reshape(images.shape).transpose(1, 2)
        return (across.reshape(-1, self.side) @ self._blur.T).reshape(images.shape).transpose(1, 2).contiguous()

    def read(self, images: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """(N, width', width') middles of images (N, S, S), each read at its own ``displacement`` (N, w, w, 2).

        Displacements are (row, column) in halves of the side, on the grid or on every second point of it.
        """
        step = -(-self.width // displacement.shape[1])
        axis = self.axis[::step]
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([x + displacement[..., 1], y + displacement[..., 0]], dim=-1)
        return grid_sample(images[:, None], grid, padding_mode="border", align_corners=True)[:, 0]

    def register(self, probes: torch.Tensor, templates: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Displacements that lay probes over templates.

        Args:
            probes, templates: (N, S, S) smoothed images.
            start: (N, 3, 2) first coefficients of 1, row and column for the displacement's row and column.

        Returns:
            (N, width, width, 2) displacements, for :meth:`read`.
        """
        step = 2
        phi = self.functions[:, ::step, ::step]
        count, terms = len(probes), len(phi)
        m, far = self.margin, self.side - self.margin
        half = (self.side - 1) / 2.0
        target, length = standardised(templates[:, m:far:step, m:far:step].reshape(count, -1))
        down = (templates[:, m + 1 : far + 1 : step, m:far:step] - templates[:, m - 1 : far - 1 : step, m:far:step]) / 2
        right = (
            templates[:, m:far:step, m + 1 : far + 1 : step] - templates[:, m:far:step, m - 1 : far - 1 : step]
        ) / 2
        slope = torch.stack([down, right], dim=1).reshape(count, 2, 1, -1) * (half / length[:, :, None, None])
        columns = (slope * phi.reshape(terms, -1)).reshape(count, 2 * terms, -1)
        columns = columns - columns.mean(dim=2, keepdim=True)
        normal = columns @ columns.transpose(1, 2)
        weight = normal.diagonal(dim1=1, dim2=2).mean(dim=1)
        coefficients = torch.zeros(count, 2, terms)
        coefficients[:, :, :3] = start.transpose(1, 2)
        for terms_now, steps, ridge in ((3, AFFINE_STEPS, 1e-4), (terms, BENDING_STEPS, RIDGE)):
            chosen = torch.cat([torch.arange(terms_now), terms + torch.arange(terms_now)])
            hold = torch.full((terms_now,), ridge)
            hold[:3] = 1e-4
            penalty = torch.diag_embed(weight[:, None] * hold.repeat(2)[None])
            inverse = torch.linalg.inv(normal[:, chosen][:, :, chosen] + penalty)
            used = columns[:, chosen]
            for _ in range(steps):
                moved = torch.einsum("nak,kyx->nyxa", coefficients, phi)
                seen, _ = standardised(self.read(probes, moved).reshape(count, -1))
                pull = torch.einsum("nkp,np->nk", used, target - seen)
                held = coefficients[:, :, :terms_now].reshape(count, -1) * penalty.diagonal(dim1=1, dim2=2)
                held = held.reshape(count, 2, terms_now)
                held[:, :, :3] = 0.0
                change = torch.einsum("njk,nk->nj", inverse, pull - held.reshape(count, -1))
                coefficients[:, :, :terms_now] += change.reshape(count, 2, terms_now).clamp(-0.1, 0.1)
        return torch.einsum("nak,kyx->nyxa", coefficients, self.functions)


def standardised(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (N, D) at zero mean and unit length, and the lengths (N, 1) they had; flat ones become zero."""
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True).clamp_min(1e-3)
    return centred / length, length
