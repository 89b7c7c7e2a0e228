"""A data set as byte ranges: finds a few elements of a file without building objects for all of them.

Reading a cohort asks millions of files for a handful of elements each, most of them in nested sequences;
pydicom's objects cost more there than the pixels do. This walk knows little-endian data sets (explicit and
implicit VR) and nothing else. Whatever it does not know, or finds cut, raises `ValueError`, and the caller falls
back on pydicom: the walk makes reading faster and never decides that a file is bad.

Source: PS3.5, sections 7.1 and 7.5; PS3.10, section 7.1.
"""

from __future__ import annotations

import math
import struct

from pydicom.charset import convert_encodings, decode_bytes

from synthrelease.dicom.opening import quiet

Range = tuple[int, int]
"""Where a value starts and ends in the file."""

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"),
        *(b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
_SHORT_HEAD = struct.Struct("<HH2sH")
_TAG_AND_LENGTH = struct.Struct("<HHI")
_U4 = struct.Struct("<I")

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
_NOT_WALKED = frozenset(("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"))
PADDING = "\0 \t\r\n"


class Cut(ValueError):
    """The bytes end before the walk does: with more of the file it may succeed."""


class Elements:
    """One level of a data set: the value of each element by tag.

    Args:
        content: The file's bytes, or enough of its beginning.
        start: Where the first element starts.
        end: Where the level ends at the latest.
        implicit: Whether VRs are left out.
        stop: The walk ends before this tag.

    Raises:
        Cut: An element runs past `end`.
        ValueError: It is not what a little-endian data set holds.
    """

    __slots__ = ("_content", "_implicit", "_ranges", "end")

    def __init__(self, content: bytes, start: int, end: int, *, implicit: bool, stop: int = UNDEFINED) -> None:
        self._content = content
        self._implicit = implicit
        self._ranges: dict[int, Range] = {}
        self.end = self._walk(start, end, stop)

    def _walk(self, at: int, end: int, stop: int) -> int:
        content, ranges, implicit = self._content, self._ranges, self._implicit
        unpack, last, first_after = _SHORT_HEAD.unpack_from, end - 8, min(stop, _ITEM_END)
        while at <= last:
            group, element, vr, length = unpack(content, at)
            tag = group << 16 | element
            if tag >= first_after:  # the end of an item or a sequence, else where the walk stops
                return at
            at += 8
            if implicit:
                length = _U4.unpack_from(content, at - 4)[0]
            elif vr in _LONG:
                if at + 4 > end:
                    raise Cut("an element is cut")
                length = _U4.unpack_from(content, at)[0]
                at += 4
            elif vr not in _SHORT:
                raise ValueError("not an explicit VR data set")
            if length == UNDEFINED:
                value_end, following = self._undefined(at, end, implicit or vr == b"UN")
            else:
                value_end = following = at + length
            if following > end:
                raise Cut("an element is cut")
            ranges[tag] = (at, value_end)
            at = following
        if at != end and stop == UNDEFINED:
            raise Cut("bytes are left over")
        return at

    def _undefined(self, at: int, end: int, implicit: bool) -> Range:
        """End of the value, and of its delimiter, of a sequence (or fragments) of undefined length."""
        while at + 8 <= end:
            group, element, length = _TAG_AND_LENGTH.unpack_from(self._content, at)
            tag = group << 16 | element
            if tag == _SEQUENCE_END:
                return at, at + 8
            if tag != _ITEM:
                raise ValueError("a sequence holds something else than items")
            at = self._item_end(at + 8, length, end, implicit)[1]
        raise Cut("a sequence is not closed")

    def _item_end(self, at: int, length: int, end: int, implicit: bool) -> Range:
        if length != UNDEFINED:
            return at + length, at + length
        inner = Elements(self._content, at, end, implicit=implicit)
        return inner.end, inner.end + 8

    def __contains__(self, tag: int) -> bool:
        return tag in self._ranges

    def raw(self, tag: int) -> bytes:
        """The value's bytes; empty when the element is absent."""
        start, end = self._ranges.get(tag, (0, 0))
        return self._content[start:end]

    def where(self, tag: int) -> Range:
        """The value's place in the file. Raises `ValueError` when the element is absent."""
        if tag not in self._ranges:
            raise ValueError("an element is missing")
        return self._ranges[tag]

    def text(self, tag: int) -> str:
        """A UID, code or ASCII text without its padding; "" when absent."""
        return self.raw(tag).decode("utf-8", "replace").strip(PADDING)

    def name(self, tag: int) -> str:
        """A text that people wrote, by the character set of this level; see `decoded`."""
        return decoded(self.raw(tag), self.text(0x00080005))

    def number(self, tag: int, default: int | None = None) -> int:
        """An unsigned short (US). Raises `ValueError` when it is absent and there is no default."""
        raw = self.raw(tag)
        if len(raw) == 2:
            return int.from_bytes(raw, "little")
        if default is None:
            raise ValueError("a number is missing")
        return default

    def shorts(self, tag: int) -> list[int]:
        """Unsigned shorts (US), or signed ones taken for unsigned; none when absent."""
        raw = self.raw(tag)
        return [value[0] for value in struct.iter_unpack("<H", raw[: len(raw) & ~1])]

    def decimals(self, tag: int) -> list[float]:
        """Decimal strings (DS, IS); NaN for one that is no number, none when absent or empty."""
        text = self.text(tag)
        return [as_float(part) for part in text.split("\\")] if text else []

    def next_value(self, tag: int) -> Range:
        """Where the value of the element that the walk ended before starts, and its length.

        Raises:
            ValueError: It is another element, or the content ends there.
        """
        at, content = self.end, self._content
        if at + 12 > len(content):
            raise Cut("an element is cut")
        group, element, vr, length = _SHORT_HEAD.unpack_from(content, at)
        if group << 16 | element != tag:
            raise ValueError("an element is missing")
        if self._implicit:
            return at + 8, _U4.unpack_from(content, at + 4)[0]
        if vr in _LONG:
            return at + 12, _U4.unpack_from(content, at + 8)[0]
        return at + 8, length

    def items(self, tag: int) -> list[Elements]:
        """The items of a sequence; none when it is absent."""
        at, end = self._ranges.get(tag, (0, 0))
        found = []
        while at + 8 <= end:
            group, element, length = _TAG_AND_LENGTH.unpack_from(self._content, at)
            if group << 16 | element != _ITEM:
                raise ValueError("a sequence holds something else than items")
            if length == UNDEFINED:
                item = Elements(self._content, at + 8, end, implicit=self._implicit)
                at = item.end + 8
            else:
                if at + 8 + length > end:
                    raise Cut("an item is cut")
                item = Elements(self._content, at + 8, at + 8 + length, implicit=self._implicit)
                at += 8 + length
            found.append(item)
        return found


def file_elements(content: bytes, *, pixels: bool, whole: bool = True) -> tuple[Elements, str]:
    """The elements of a file and its transfer syntax UID.

    Args:
        content: The file from its preamble on.
        pixels: Whether Pixel Data is wanted; without, the walk ends before it.
        whole: Whether `content` is all of the file.

    Raises:
        Cut: The content ends before the walk does.
        ValueError: No preamble, another byte order, or a deflated data set.
    """
    if content[128:132] != b"DICM":
        raise ValueError("no preamble")
    size = len(content)
    meta = Elements(content, 132, size, implicit=False, stop=0x00030000)
    syntax = meta.text(0x00020010)
    if not syntax.startswith("1.2.840.10008.1.2") or syntax in _NOT_WALKED:
        raise ValueError("a transfer syntax that is not walked")
    stop = PIXEL_DATA + pixels
    elements = Elements(content, meta.end, size, implicit=syntax == IMPLICIT, stop=stop)
    if elements.end + 8 > size and not (whole and elements.end == size):
        raise Cut("the file goes on, or is cut")
    return elements, syntax


def as_float(text: str) -> float:
    """A decimal string's value, NaN when it is none.

    >>> as_float(" 1.5 "), as_float("abcd")
    (1.5, nan)
    """
    try:
        return float(text)
    except ValueError:
        return math.nan


def decoded(raw: bytes, character_set: str) -> str:
    """A text without its padding; no two texts of different bytes in one character set become one.

    Args:
        raw: As stored.
        character_set: Specific Character Set (0008,0005), values parted by a backslash.
    """
    if not raw.isascii():
        try:
            with quiet():
                text: str = decode_bytes(raw, convert_encodings(character_set.split("\\")), set())
        except (LookupError, ValueError):
            text = "\ufffd"
        if "\ufffd" not in text:
            return text.strip(PADDING)
    return raw.decode("ascii", "surrogateescape").strip(PADDING)
