"""The four discriminating jobs, on one trunk.

    D_x(x)        whether the picture looks real
    D_xt(x, t)    whether it looks real and is of class t
    D_xz(x, z)    whether picture and style were inferred (x, z^) or generated (x~, z)
    D_xc(x, c)    whether picture and content were inferred (x, c^) or generated (x~, c)

They judge pairs, never the triple (x, z, c): content and style are taken as independent, and that their joint law is matched
by two pairs is what makes the inference dual.

The class enters by projection, h(x) . e(t): joined to the features as one-hot numbers, it was hardly learned.

Sources: Havaei et al. 2021; Reed et al., ICML 2016 (wrong conditions); Dumoulin et al., ICLR 2017, and Donahue et al.,
ICLR 2017 (inferred pairs); Miyato and Koyama, ICLR 2018 (projection).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthrelease.generators.drai.networks import Trunk
from synthrelease.generators.layers import rectified

PICTURE, CLASS, WRONG, STYLE, CONTENT = range(5)
"""Columns of the scores."""


class Critics(nn.Module):
    """All four, higher for what looks real or inferred. No layer reads more than one example.

    Args:
        classes: Number of classes.
        channels: 1 + K. resolution: H = W. width: Of the trunk.
        style: Dimensions of z.
        content: Dimensions of c.
    """

    def __init__(self, classes: int, channels: int, resolution: int, width: int, *, style: int, content: int) -> None:
        super().__init__()
        self.trunk = Trunk(channels, resolution, width, normed=False)
        features = self.trunk.features
        self.picture = nn.Linear(features, 1)
        self.classed = nn.Linear(features, 1)
        self.classes = nn.Embedding(classes, features)
        self.styled = _pair(features + style, features)
        self.contented = _pair(features + content, features)
        nn.init.normal_(self.classes.weight, std=features**-0.5)

    def forward(self, pictures: Tensor, labels: Tensor, wrong: Tensor, style: Tensor, content: Tensor) -> Tensor:
        """Scores (N, 5): of the picture, with its class, with a wrong class, with a style, with a content.

        Args:
            pictures: (N, 1 + K, H, W).
            labels: (N,) class indices.
            wrong: (N,) class indices.
            style: (N, style).
            content: (N, content).
        """
        h = self.trunk(pictures)
        # Both classes in one call: the layer then sees one row for each picture.
        with_class = self.classed(h) + (h[:, None] * self.classes(torch.stack([labels, wrong], dim=1))).sum(dim=2)
        styled = self.styled(torch.cat([h, style], dim=1))
        contented = self.contented(torch.cat([h, content], dim=1))
        return torch.cat([self.picture(h), with_class, styled, contented], dim=1)


class _Rectifier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Leaky rectifier as a layer."""
        return rectified(x)


def _pair(inputs: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inner), _Rectifier(), nn.Linear(inner, 1))
