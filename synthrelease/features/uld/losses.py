"""The losses of both stages, pure functions of tensors; formulas and constants as in the authors' public code."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PATCH_TEMPERATURE = 0.1
REGION_TEMPERATURE = 0.2


def patch_discrimination(
    a: Tensor, b: Tensor, temperature: float = PATCH_TEMPERATURE, groups: Tensor | None = None
) -> Tensor:
    """Each cell must be told from all others by its partner in the other view, and by nobody else.

        s_ij   = p_i . sg(p_j) / T          over p = [a; b], N = 2 M vectors; sg stops the gradient
        P(j|i) = exp(s_ij) / sum_{k != i} exp(s_ik)
        L      = -1/N sum_i [ log P(i+|i) + sum_{j != i, i+} log(1 - P(j|i)) ]

    Args:
        a: (M, D) unit vectors of one view. b: (M, D) of the other; row i is the partner of row i.
        temperature: T.
        groups: (M,) int; negatives come only from the rows of one's own group (the image: the loss is then a sum over
            images). None: from the whole batch, as published.

    Returns:
        Scalar, at least 0.
    """
    if groups is None:
        return _summed(a, b, temperature) / (2 * len(a))
    own = [groups == group for group in torch.unique(groups)]
    return torch.stack([_summed(a[rows], b[rows], temperature) for rows in own]).sum() / (2 * len(a))


def _summed(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """N L of one group."""
    count = len(a)
    vectors = torch.cat([a, b])
    scores = vectors @ vectors.detach().T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=a.device)
    log_chance = scores.masked_fill(itself, -torch.inf).log_softmax(dim=1)
    attraction = log_chance.diagonal(count).sum() + log_chance.diagonal(-count).sum()
    # Neither oneself nor one's partner. A chance is kept below one for the logarithm; when vectors coincide, one
    # stranger can have all of it.
    near = itself | itself.roll(count, dims=1)
    strangers = log_chance.exp().clamp(max=1.0 - 1e-6).masked_fill(near, 0.0)
    return -attraction - torch.log1p(-strangers).sum()


def mixup_target(first: Tensor, second: Tensor, share: Tensor | float) -> Tensor:
    """What a mixed image's cells should be: (..., D) unit vectors on the arc between two, without gradient.

    t = L2norm( sg( share p_1 + (1 - share) p_2 ) )
    """
    return functional.normalize((share * first + (1.0 - share) * second).detach(), dim=-1)


def region_embeddings(embedding: Tensor, shares: Tensor) -> Tensor:
    """c_nk = L2norm( mean_x r_nk(x) v_n(x) ): (N, D, H, W) and (N, K, H, W) to (N, K, D)."""
    weighted = torch.einsum("nkx,ndx->nkd", shares.flatten(2), embedding.flatten(2)) / shares[0, 0].numel()
    return functional.normalize(weighted, dim=-1)


def region_discrimination(embedding: Tensor, shares: Tensor, temperature: float = REGION_TEMPERATURE) -> Tensor:
    """A cluster means the same in every image and differs from other clusters.

        t_k  = L2norm( mean_n c_nk )        the prototype, of the batch, with gradient
        L_ld = -1/(N K) sum_n sum_k log softmax_k'( c_nk . t_k' / T )[k]

    Args:
        embedding: v, (N, D, H, W) unit vectors. shares: r, (N, K, H, W). temperature: T.

    Returns:
        Scalar, at least 0.
    """
    regions = region_embeddings(embedding, shares)
    prototypes = functional.normalize(regions.mean(dim=0), dim=-1)
    log_chance = (regions @ prototypes.T / temperature).log_softmax(dim=-1)
    return -log_chance.diagonal(dim1=1, dim2=2).mean()


def assignment_entropy(shares: Tensor) -> Tensor:
    """Mean over pixels and clusters of the binary entropy of r in bits, 0 to 1; low when pixels make up their minds."""
    r = shares.clamp(1e-6, 1.0 - 1e-6)
    return -(r * r.log2() + (1.0 - r) * (1.0 - r).log2()).mean()


def areas(shares: Tensor) -> Tensor:
    """Mean share of the pixels that each cluster has: (N, K, H, W) to (K,), sum 1."""
    return shares.mean(dim=(0, 2, 3))


def area(shares: Tensor) -> Tensor:
    """Mean squared distance of the clusters' areas in each image from 1 / K; against collapse into one cluster."""
    return ((shares.mean(dim=(2, 3)) - 1.0 / shares.shape[1]) ** 2).mean()
