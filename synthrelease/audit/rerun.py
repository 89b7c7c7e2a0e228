"""The same patients, other synthetic images, and no search made twice: for re-runs of the checks on planted archives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet, IntArray
from synthrelease.audit.search import CopySearch, Matches, Patients

T = TypeVar("T", bound=np.generic)


class Part(StrEnum):
    """What of a synthetic image a leak changes; the rest stays as it was, and so does whatever looks at the rest."""

    IMAGE = "image"
    MASK = "mask"
    ROW = "row"


def part_of(transform: str) -> Part:
    """What a transform of :data:`synthrelease.audit.planted.TRANSFORMS` changes, by its name."""
    if transform.startswith("mask"):
        return Part.MASK
    return Part.ROW if transform.startswith("label") else Part.IMAGE


def part_searched(kind: str) -> Part:
    """What a kind of comparison looks at."""
    return Part.MASK if kind == "masks" else Part.IMAGE


def with_leaks(synthetic: ImageSet, places: IntArray, leaks: ImageSet, part: Part) -> ImageSet:
    """The synthetic images with one part of those at ``places`` replaced; no file has their digests any more."""
    images, masks, has_mask, labels = synthetic.images, synthetic.masks, synthetic.has_mask, synthetic.labels
    attributes = dict(synthetic.attributes)
    if part is Part.IMAGE:
        images = _put(images, places, leaks.images)
    elif part is Part.MASK:
        masks, has_mask = _put(masks, places, leaks.masks), _put(has_mask, places, leaks.has_mask)
    else:
        labels = _put(labels, places, leaks.labels)
        attributes = {name: _put(values, places, leaks.attributes[name]) for name, values in attributes.items()}
    return replace(
        synthetic,
        images=images,
        masks=masks,
        has_mask=has_mask,
        labels=labels,
        attributes=attributes,
        digests=(),
    )


def _put(values: npt.NDArray[T], places: IntArray, new: npt.NDArray[T]) -> npt.NDArray[T]:
    """A copy with some rows replaced; text is as wide as it must be."""
    index = np.arange(len(values))
    index[places] = len(values) + np.arange(len(places))
    return np.concatenate([values, new])[index]


def patched(
    own: Mapping[str, Matches], leaks: Mapping[str, Matches], places: IntArray, which: IntArray
) -> dict[str, Matches]:
    """Matches of the archive with the rows at ``places`` replaced by what leaks ``which`` saw."""
    table: dict[str, Matches] = {}
    for name, matches in own.items():
        probes, planted_ones = len(matches.near), leaks[name]
        changed: dict[str, Any] = {}
        for each in fields(Matches):
            values, new = getattr(matches, each.name), getattr(planted_ones, each.name)
            if each.name != "best_probe" and isinstance(values, np.ndarray) and len(values) == probes:
                changed[each.name] = values.copy()
                changed[each.name][places] = new[which]
        # Patients beyond the 16 nearest of a leak keep what they had: the archive's rows were as like to them.
        best = matches.best_probe.copy()
        np.maximum.at(best, planted_ones.who[which].ravel(), planted_ones.near[which].ravel())
        table[name] = replace(matches, **changed, best_probe=best)
    return table


@dataclass(frozen=True, eq=False)
class Rerun(AuditCase):
    """The same patients with other synthetic images; what the lender has searched is not searched again.

    Attributes:
        lender: The case that is audited.
        seen: What the synthetic images saw, by kind of comparison; None: search them.
    """

    lender: AuditCase | None = None
    seen: Callable[[str], Mapping[str, Matches]] | None = None
    _borrowed: dict[str, CopySearch] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, case: AuditCase, synthetic: ImageSet, seen: Callable[[str], Mapping[str, Matches]] | None = None
    ) -> Rerun:
        """``case`` with other synthetic images; power is not measured again."""
        made = {f.name: getattr(case, f.name) for f in fields(AuditCase) if f.init}
        return cls(**made | {"synthetic": synthetic, "measures_power": False}, lender=case, seen=seen)

    @cached_property
    def patients(self) -> Patients:
        """The lender's."""
        assert self.lender is not None
        return self.lender.patients

    def search(self, kind: str) -> CopySearch:
        """The lender's search with these synthetic images."""
        assert self.lender is not None
        if kind not in self._borrowed:
            seen = self.seen(kind) if self.seen is not None else None
            self._borrowed[kind] = _BorrowedSearch(self.lender.search(kind), self.synthetic, seen)
        return self._borrowed[kind]

    def planted(self, kind: str, transform: str) -> Mapping[str, Matches]:
        """The lender's plants."""
        assert self.lender is not None
        return self.lender.planted(kind, transform)


class _BorrowedSearch(CopySearch):
    """A search whose gallery and null are another's."""

    def __init__(self, lender: CopySearch, synthetic: ImageSet, seen: Mapping[str, Matches] | None) -> None:
        super().__init__(lender.comparison, lender.patients, synthetic)
        self._lender, self._seen = lender, seen

    @cached_property
    def synthetic(self) -> Mapping[str, Matches]:
        """What these synthetic images saw."""
        return self._seen if self._seen is not None else self.probe(self._synthetic)

    @cached_property
    def holdout(self) -> Mapping[str, Matches]:
        """The lender's: strangers are the same."""
        return self._lender.holdout
