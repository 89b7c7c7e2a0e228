"""Whom an encoder was fitted to, told by a few digests of images: enough to recognise them again, and no list of them.

Digests of pixels are as good as random, so the smallest 256 of a cohort are a random sample of its images. A set that
holds a twentieth of the cohort's images misses all of them once in half a million times. An image that was stored anew
with other values is another image here.
"""

from __future__ import annotations

from collections.abc import Iterable

KEPT = 256


def sketch_of(pixel_digests: Iterable[str]) -> tuple[str, ...]:
    """The smallest of the digests of a cohort's images, each once.

    >>> sketch_of(["b", "a", "b"])
    ('a', 'b')
    """
    return tuple(sorted(set(pixel_digests))[:KEPT])


def known_among(sketch: Iterable[str], pixel_digests: Iterable[str]) -> int:
    """How many images of the sketch are among these."""
    return len(set(sketch).intersection(pixel_digests))
