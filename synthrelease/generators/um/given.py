"""Maps that are given, public or of patients set apart, and which image is painted after which.

The painter has no noise: one map of one class gives one image. So each map serves a class once, over a whole archive, whatever
the parts that it is drawn in: an image's map follows from the archive's seed and from the images of its class before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthrelease.errors import UnsuitableData

ANY = -1
"""The class of a map that stands for every class."""


def refuse_repeats(map_labels: Tensor, wanted: Sequence[int], names: Sequence[str] = ()) -> None:
    """Refuse to make so many images where some would be copies of others.

    How many maps there are stands in no message: of patients set apart it is private.

    Args:
        map_labels: (M,) class of each map, or ``ANY``.
        wanted: Images of each class, in the order of the classes.
        names: Of the classes; empty: numbers are told.

    Raises:
        UnsuitableData: Fewer maps fit a class than images of it are wanted.
    """
    for label, images in enumerate(wanted):
        maps, name = int(_fit(map_labels, label).sum()), names[label] if names else label
        if images and not maps:
            raise UnsuitableData(
                f"no map was given for class {name}",
                fix="Give maps of every class, or use generator.guidance: generated.",
            )
        if images > maps:
            raise UnsuitableData(
                f"{images} images of class {name} are wanted, and fewer maps fit it: one map of one class gives one image, so "
                "that some would be copies",
                fix="Lower archive.images, give more maps, or use generator.guidance: generated, which makes as many as are "
                "needed.",
            )


def dealt(map_labels: Tensor, labels: Tensor, numbers: Tensor, classes: int, seed: int) -> Tensor:
    """The map of each image: no map twice in a class.

    Args:
        map_labels: (M,) class of each map, or ``ANY``.
        labels: (N,) class of each image.
        numbers: (N,) how many images of its class come before it, from 0.
        classes: Number of classes.
        seed: Of the order in which maps are dealt.

    Returns:
        (N,) numbers of maps.

    Raises:
        UnsuitableData: Fewer maps fit a class than images of it are wanted.
    """
    wanted = torch.zeros(classes, dtype=torch.int64).scatter_reduce_(0, labels, numbers + 1, "amax")
    refuse_repeats(map_labels, wanted.tolist())
    # A stream of its own: whoever draws from the same plain seed must not meet it again.
    stream = np.random.SeedSequence([seed, *b"maps"]).generate_state(1, np.uint64)[0]
    order = torch.randperm(len(map_labels), generator=torch.Generator().manual_seed(int(stream >> np.uint64(1))))
    chosen = torch.empty_like(labels)
    for label in sorted(set(labels.tolist())):
        fitting, own = order[_fit(map_labels[order], label)], labels == label
        # Where maps stand for every class, each begins elsewhere: the images of one map are of as few classes as can be.
        begin = label * len(fitting) // classes
        chosen[own] = fitting[(begin + numbers[own]) % len(fitting)]
    return chosen


def _fit(map_labels: Tensor, label: int) -> Tensor:
    return (map_labels == label) | (map_labels == ANY)
