"""Embeddings: each row of a patient adds its gradient to the entry that it looked up."""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.block import Unsupported
from synthrelease.privacy.gradients.layers.kept import Kept, LayerGradients, gram_norms, scaled, without


class Lookups:
    """Gradients of a table that are never formed: a patient touches few entries.

    Args:
        entries: (P, T) int64.
        g: (P, T, width).
        size: Entries of the table.
    """

    def __init__(self, entries: Tensor, g: Tensor, size: int) -> None:
        self._entries, self._g, self._size = entries, g, size

    def squared_norms(self) -> Tensor:
        """Sum over pairs of look-ups of one entry of the products of their gradients."""
        g = self._g.to(torch.float64)
        same = self._entries[:, :, None] == self._entries[:, None, :]
        return gram_norms(same.to(torch.float64), g @ g.mT)

    def weighted_sum(self, weights: Tensor, finite: Tensor | None) -> dict[str, Tensor]:
        """See :class:`LayerGradients`."""
        g = scaled(without(self._g, finite), weights).flatten(0, 1)
        return {"weight": g.new_zeros(self._size, g.shape[1]).index_add_(0, self._entries.flatten(), g)}


def embedding(
    layer: nn.Embedding, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
) -> LayerGradients:
    """Gradients of an embedding.

    Args:
        layer: The layer.
        x: (N, ...) entries looked up; patients' rows lie together.
        g: (N, ..., width) gradient of the patients' mean losses with respect to what came out.
        patients: P.
        wanted: Unused: the weight alone is trained.
        keep: Form every patient's gradient.

    Raises:
        Unsupported: The layer rescales its entries while it is used, or by how often they occur in a batch.
    """
    if layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse:
        raise Unsupported("an embedding with max_norm, scale_grad_by_freq or sparse gradients")
    entries, g = x.reshape(patients, -1), g.reshape(patients, -1, layer.embedding_dim)
    if layer.padding_idx is not None:
        g = torch.where((entries == layer.padding_idx)[:, :, None], 0.0, g)
    if not keep:
        return Lookups(entries, g, layer.num_embeddings)
    table = g.new_zeros(patients, layer.num_embeddings, layer.embedding_dim)
    table.scatter_add_(1, entries[:, :, None].expand_as(g), g)
    return Kept({"weight": table})
