"""Embeddings: each row of a patient adds its gradient to the entry that it looked up."""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.block import Unsupported
from synthrelease.privacy.gradients.layers.kept import Implicit, Kept, LayerGradients, gram, scaled, without


class Lookups(Implicit):
    """Gradients of a table that are never formed: a patient touches few entries.

    Args:
        entries: (P, T) int64.
        g: (P, T, width).
        size: Entries of the table.
    """

    def __init__(self, entries: Tensor, g: Tensor, size: int) -> None:
        super().__init__(entries.shape[1])
        self._entries, self._g, self._size = entries, g, size

    def norms_and_reaches(self) -> tuple[Tensor, Tensor]:
        """Sums over pairs of look-ups of one entry of the products of their gradients."""
        g = self._g.to(torch.float64)
        same = self._entries[:, :, None] == self._entries[:, None, :]
        return gram(same.to(torch.float64), g @ g.mT)

    def formed(self, patient: int) -> Tensor:
        """See :class:`Implicit`."""
        return self._table(self._entries[patient], self._g[patient])

    def summed(self, weights: Tensor, counted: Tensor | None) -> Tensor:
        """See :class:`Implicit`."""
        g = scaled(without(self._g, counted).to(torch.float64), weights.to(torch.float64))
        return self._table(self._entries.flatten(), g.flatten(0, 1)).to(self._g.dtype)

    def _table(self, entries: Tensor, g: Tensor) -> Tensor:
        return g.new_zeros(self._size, g.shape[1]).index_add_(0, entries, g)


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
