"""Stored values to the range that generators see: [-1, 1], bright = dense, by a window that the policy declares."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.types import FloatArray
from synthrelease.errors import PolicyError
from synthrelease.policy.schema import Window


class OwnWindow(Protocol):
    """What an image itself declares about the values of interest."""

    def applied(self, values: FloatArray) -> FloatArray:
        """Values mapped to [0, 1], in an array of their own."""
        ...


def to_unit(
    values: FloatArray,
    window: Window,
    *,
    value_range: tuple[float, float] | None,
    own: OwnWindow | None = None,
    inverted: bool = False,
    padding: npt.NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Map values to [-1, 1].

    Nothing is measured on the image: a window taken from its own pixels would make its brightness a function of the
    one pixel that is brightest, and the archive's contrast a statistic of the cohort.

    Args:
        values: (H, W) after the modality LUT.
        window: Which window counts.
        value_range: What the stored bits allow, in the same values; None for floating point files.
        own: The image's own window or table, used by mode `header`.
        inverted: Whether low values are shown bright; undone after the window.
        padding: (H, W) where pixels only fill the frame; they become -1.

    Returns:
        (H, W) float32 in [-1, 1].

    Raises:
        PolicyError: Mode `fixed` without low < high.
        ValueError: The image has neither a window nor a usable range, and the policy does not fix one.
    """
    if window.mode == "fixed":
        if window.low is None or window.high is None or window.low >= window.high:
            raise PolicyError(
                "cohort.window: mode fixed needs low < high", fix="Give both, in values after the modality LUT."
            )
        shown = _between(values, window.low, window.high)
    elif window.mode == "header" and own is not None:
        shown = own.applied(values)
        shown *= np.float32(2)
        shown -= np.float32(1)
    elif value_range is not None:
        shown = _between(values, *value_range)
    else:
        raise ValueError("floating point images have no stored range that could serve as a window")
    if inverted:
        np.negative(shown, out=shown)
    if padding is not None:
        shown[padding] = -1
    return shown


def _between(values: FloatArray, low: float, high: float) -> FloatArray:
    if not high > low:
        raise ValueError("an empty range of values")
    shown = values - np.float32(low)
    shown *= np.float32(2 / (high - low))
    shown -= np.float32(1)
    return np.clip(shown, -1, 1, out=shown)
