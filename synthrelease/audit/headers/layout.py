"""A DICOM file as a flat list of byte ranges: every element, every item, and what is left over.

Written for files that nobody vouches for: nothing is decoded, nothing raises, and a byte that belongs to no element is
told as such. Sequences are not nested here; their elements follow the sequence's own head.

Source: PS3.5, sections 7.1 and 7.5; PS3.10, section 7.1.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(name.encode() for name in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # noqa: SIM905
_SHORT = frozenset(
    name.encode()
    for name in "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905
)
_SYNTAX = 0x00020010
_IMPLICIT, _DEFLATED, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_HEAD = {False: struct.Struct("<HH2sH"), True: struct.Struct(">HH2sH")}
_BARE = {False: struct.Struct("<HHI"), True: struct.Struct(">HHI")}
_U4 = {False: struct.Struct("<I"), True: struct.Struct(">I")}


class Span(NamedTuple):
    """One element, or the head of a sequence or item: ``content[start:end]``, its value ``content[value:end]``."""

    tag: int
    vr: bytes
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        content: The bytes that the ranges speak of; inflated when the file was deflated.
        spans: In order, pixels not among them.
        pixels: Ranges of pixel values, encapsulated ones with their fragments' heads.
        rest: Where the first byte stands that is no element; the length of the content when there is none.
    """

    content: bytes
    spans: list[Span]
    pixels: list[tuple[int, int]]
    rest: int


def layout(content: bytes) -> Layout | None:
    """Where everything stands in a DICOM file; None when it is none (no ``DICM`` mark, no group 0002 or 0008)."""
    if content[128:132] == b"DICM":
        start = 132
    elif content[:2] in (b"\x02\0", b"\x08\0") and content[4:6] in _LONG | _SHORT:
        start = 0
    else:
        return None
    spans: list[Span] = []
    pixels: list[tuple[int, int]] = []
    at = _walk(content, start, spans, pixels, meta=True)
    syntax = next((content[s.value : s.end].strip(b"\0 ").decode("latin-1") for s in spans if s.tag == _SYNTAX), "")
    if syntax == _DEFLATED:
        try:
            content = content[:at] + zlib.decompress(content[at:], -zlib.MAX_WBITS)
        except zlib.error:
            return Layout(content, spans, pixels, at)
    at = _walk(content, at, spans, pixels, implicit=syntax == _IMPLICIT, big=syntax == _BIG)
    return Layout(content, spans, pixels, at)


def _walk(
    content: bytes,
    at: int,
    spans: list[Span],
    pixels: list[tuple[int, int]],
    *,
    meta: bool = False,
    implicit: bool = False,
    big: bool = False,
) -> int:
    """Append what stands from ``at`` on; file meta alone, or everything after it. Returns where it ended."""
    size = len(content)
    head, bare, u4 = _HEAD[big].unpack_from, _BARE[big].unpack_from, _U4[big].unpack_from
    add = spans.append
    while at + 8 <= size:
        group, element, vr, length = head(content, at)
        if meta and group != 2:
            return at
        tag = group << 16 | element
        value = at + 8
        if group == 0xFFFE:
            # Items and delimiters: a head alone; what an item holds follows as elements of the same list.
            add(Span(tag, b"", at, value, value))
            at = value
            continue
        if implicit:
            length = bare(content, at)[2]
            vr = usual_vr(tag)
        elif vr in _LONG:
            if value + 4 > size:
                return at
            length = u4(content, value)[0]
            value += 4
        elif vr not in _SHORT:
            return at
        if vr == b"SQ":
            end = value
        elif length == UNDEFINED:
            if tag not in PIXELS:
                return at
            end = _after_fragments(content, value)
        else:
            end = value + length
        if end > size:
            return at
        if tag in PIXELS:
            add(Span(tag, vr, at, value, value))
            pixels.append((value, end))
        else:
            add(Span(tag, vr, at, value, end))
        at = end
    return at


def _after_fragments(content: bytes, at: int) -> int:
    """Where encapsulated pixels end, their delimiter included; beyond the content when they do not."""
    while at + 8 <= len(content):
        group, element, length = _BARE[False].unpack_from(content, at)
        at += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return at
        if (group, element) != (0xFFFE, 0xE000):
            break
        at += length
    return len(content) + 1


@cache
def usual_vr(tag: int) -> bytes:
    """The VR that the standard gives an attribute; UN where it gives none."""
    try:
        return str(dictionary_VR(tag))[:2].encode()
    except KeyError:
        return b"LO" if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF else b"UN"
