"""Patients' gradients by book-keeping: one backward pass to what the layers put out, and no second one.

    forward    every trained layer notes what went in and what came out
    backward   down to the layers' outputs only; parameters take no gradient
    norms      per layer and patient, from the notes, over all of the patient's rows together
    sum        per layer, weighted by patient, from the same notes

Nothing per example is held that is not needed: a layer forms patients' gradients only where that is cheaper than
their inner products. (Bu, Wang, Zha, Karypis, ICML 2023, for examples; here for patients with several rows each.)

The loss must treat rows alike and apart: row i of what a layer sees belongs to row i of the inputs. That is tried on random
numbers before training, against ``vmap``: see :mod:`.trial`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Set
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.block import Inputs, Loss, Unsupported, as_rows, trained
from synthrelease.privacy.gradients.layers.convolution import convolution
from synthrelease.privacy.gradients.layers.embedding import embedding
from synthrelease.privacy.gradients.layers.kept import Kept, LayerGradients
from synthrelease.privacy.gradients.layers.linear import linear
from synthrelease.privacy.gradients.layers.normalisation import group_norm, instance_norm, layer_norm


class Book(Protocol):
    """Gradients of one kind of layer; see :func:`linear` for the arguments."""

    def __call__(
        self, layer: Any, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
    ) -> LayerGradients: ...


BOOKS: tuple[tuple[type[nn.Module], Book], ...] = (
    (nn.Conv2d, convolution),
    (nn.ConvTranspose2d, convolution),
    (nn.Linear, linear),
    (nn.Embedding, embedding),
    (nn.GroupNorm, group_norm),
    (nn.LayerNorm, layer_norm),
    (nn.InstanceNorm2d, instance_norm),
)


class _Note:
    """One use of a layer."""

    def __init__(self, x: Tensor, out: Tensor) -> None:
        self.x = x.detach()
        self.out = out
        self.version = out._version
        self.seen_version = x._version


class BookKept:
    """Gradients of a block; see :class:`BlockGradients`."""

    def __init__(
        self, module: nn.Module, layers: dict[str, LayerGradients], squared_norms: Tensor, losses: Tensor
    ) -> None:
        self._shapes = {name: p.shape for name, p in trained(module).items()}
        self._dtype = next(iter(trained(module).values())).dtype
        self._layers = layers
        self.squared_norms = squared_norms
        self.losses = losses

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """See :class:`BlockGradients`."""
        finite = torch.isfinite(self.squared_norms)
        counted = None if bool(finite.all()) else finite
        narrow = weights.to(self._dtype)
        sums: dict[str, Tensor] = {}
        for prefix, layer in self._layers.items():
            for name, value in layer.weighted_sum(narrow, counted).items():
                sums[f"{prefix}.{name}" if prefix else name] = value
        flat = [
            sums[name].reshape(-1) if name in sums else weights.new_zeros(shape.numel(), dtype=self._dtype)
            for name, shape in self._shapes.items()
        ]
        return torch.cat(flat).to(torch.float64)


def _books(module: nn.Module) -> dict[str, tuple[nn.Module, Book, frozenset[str]]]:
    """The layers that own trained parameters, by name.

    Raises:
        Unsupported: A trained parameter belongs to something else, or to two layers.
    """
    found: dict[str, tuple[nn.Module, Book, frozenset[str]]] = {}
    owners: dict[int, str] = {}
    for prefix, layer in module.named_modules():
        own = {name: p for name, p in layer.named_parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        # A subclass may compute something else, so the type must be the very one.
        book = next((book for kind, book in BOOKS if type(layer) is kind), None)
        if book is None:
            raise Unsupported(f"{prefix or 'the network'} ({type(layer).__name__}) has parameters of its own")
        for name, p in own.items():
            if id(p) in owners:
                raise Unsupported(f"{prefix}.{name} is also a parameter of {owners[id(p)]}")
            owners[id(p)] = prefix
        found[prefix] = (layer, book, frozenset(own))
    return found


def book_kept(module: nn.Module, loss: Loss, inputs: Inputs) -> BookKept:
    """Gradients of a block of patients.

    Args:
        module: The network; its buffers are used as they stand.
        loss: (forward, inputs) -> (rows,) losses.
        inputs: Named tensors (P, M, ...): P patients with M rows each.

    Raises:
        Unsupported: A layer, a use of a layer or the loss is beyond this way.
    """
    books = _books(module)
    patients, rows = next(iter(inputs.values())).shape[:2]
    notes: dict[str, list[_Note]] = defaultdict(list)

    def noting(prefix: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def note(layer: nn.Module, seen: tuple[Any, ...], out: Tensor) -> None:
            if len(seen) != 1 or seen[0].shape[0] != patients * rows:
                raise Unsupported(f"{prefix} ({type(layer).__name__}) does not see one row for each row of the inputs")
            if not out.requires_grad:
                out.requires_grad_(True)
            notes[prefix].append(_Note(seen[0], out))

        return note

    parameters = [p for p in module.parameters() if p.requires_grad]
    hooks = [layer.register_forward_hook(noting(prefix)) for prefix, (layer, _, _) in books.items()]
    try:
        for p in parameters:
            p.requires_grad_(False)
        with torch.enable_grad():
            losses = loss(module, as_rows(inputs))
            used = [(prefix, note) for prefix, own in notes.items() for note in own]
            if losses.shape != (patients * rows,):
                raise Unsupported(f"the loss has shape {tuple(losses.shape)} for {patients * rows} rows")
            # Read after the whole forward pass: an operation in place would have changed what the layer put out.
            if any(note.out._version != note.version or note.x._version != note.seen_version for _, note in used):
                raise Unsupported("what a layer sees or puts out is changed in place")
            back: tuple[Tensor | None, ...] = torch.autograd.grad(
                losses.sum() / rows, [note.out for _, note in used], allow_unused=True, materialize_grads=False
            )
    finally:
        for hook in hooks:
            hook.remove()
        for p in parameters:
            p.requires_grad_(True)
    layers: dict[str, LayerGradients] = {}
    with torch.no_grad():
        for (prefix, note), g in zip(used, back, strict=True):
            if g is None:
                continue
            layer, book, wanted = books[prefix]
            twice = len(notes[prefix]) > 1
            made = book(layer, note.x, g, patients, wanted, keep=twice)
            before = layers.get(prefix)
            layers[prefix] = made if before is None else _added(before, made)
        total = losses.new_zeros(patients, dtype=torch.float64)
        for layer_gradients in layers.values():
            total += layer_gradients.squared_norms()
        own_losses = losses.detach().reshape(patients, rows).mean(dim=1)
    return BookKept(module, layers, total, own_losses)


def _added(first: LayerGradients, second: LayerGradients) -> LayerGradients:
    assert isinstance(first, Kept)
    assert isinstance(second, Kept)
    return first.plus(second)
