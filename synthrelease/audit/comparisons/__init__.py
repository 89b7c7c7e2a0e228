"""Ways of saying how like two images are, each searched over whatever it forgives. The registry is this mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from synthrelease.audit.comparisons.parts import PartComparison
from synthrelease.audit.comparisons.shapes import MaskShapes
from synthrelease.audit.comparisons.whole import WholeImages
from synthrelease.audit.search import Comparison, Patients

COMPARISONS: Mapping[str, Callable[[Patients], Comparison]] = MappingProxyType(
    {"whole": WholeImages, "masks": MaskShapes, "parts": PartComparison}
)
