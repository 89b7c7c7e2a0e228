"""A data set as byte ranges: finds a few elements of a file without building objects for all of them.

Reading a cohort asks millions of files for a handful of elements each, most of them in nested sequences;
pydicom's objects cost more there than the pixels do. This walk knows little-endian data sets (explicit and
implicit VR) and nothing else. Whatever it does not know, or finds cut, raises `ValueError`, and the caller falls
back on pydicom: the walk makes reading faster and never decides that a file is bad.

Source: PS3.5, sections 7.1 and 7.5; PS3.10, section 7.1.
"""

from __future__ import annotations

import struct

Range = tuple[int, int]
"""Where a value starts and ends in the file."""

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT_HEAD = struct.Struct("<HH2sH")
_TAG_AND_LENGTH = struct.Struct("<HHI")
_U4 = struct.Struct("<I")

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
_NOT_WALKED = frozenset(("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"))


class Elements:
    """One level of a data set: the value of each element by tag.

    Args:
        content: The file's bytes, or enough of its beginning.
        start: Where the first element starts.
        end: Where the level ends at the latest.
        implicit: Whether VRs are left out.
        stop: The walk ends before this tag.

    Raises:
        ValueError: An element runs past `end`, or is not what a little-endian data set holds.
    """

    __slots__ = ("_content", "_implicit", "_ranges", "end")

    def __init__(self, content: bytes, start: int, end: int, *, implicit: bool, stop: int = UNDEFINED) -> None:
        self._content = content
        self._implicit = implicit
        self._ranges: dict[int, Range] = {}
        self.end = self._walk(start, end, stop)

    def _walk(self, at: int, end: int, stop: int) -> int:
        content, ranges, implicit = self._content, self._ranges, self._implicit
        while at + 8 <= end:
            group, element, vr, length = _SHORT_HEAD.unpack_from(content, at)
            tag = group << 16 | element
            if tag in (_ITEM_END, _SEQUENCE_END):
                return at
            if tag >= stop:
                return at
            at += 8
            if implicit:
                length = _U4.unpack_from(content, at - 4)[0]
            elif vr in _LONG:
                if at + 4 > end:
                    raise ValueError("an element is cut")
                length = _U4.unpack_from(content, at)[0]
                at += 4
            elif not (vr.isalpha() and vr.isupper()):
                raise ValueError("not an explicit VR data set")
            if length == UNDEFINED:
                value_end, following = self._undefined(at, end, implicit or vr == b"UN")
            else:
                value_end = following = at + length
            if following > end:
                raise ValueError("an element is cut")
            ranges[tag] = (at, value_end)
            at = following
        if at != end and stop == UNDEFINED:
            raise ValueError("bytes are left over")
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
        raise ValueError("a sequence is not closed")

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
        return self.raw(tag).decode("utf-8", "replace").strip("\0 ")

    def number(self, tag: int, default: int | None = None) -> int:
        """An unsigned short (US). Raises `ValueError` when it is absent and there is no default."""
        raw = self.raw(tag)
        if len(raw) == 2:
            return int.from_bytes(raw, "little")
        if default is None:
            raise ValueError("a number is missing")
        return default

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
                    raise ValueError("an item is cut")
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
        ValueError: No preamble, another byte order, a deflated data set, or a cut before the end of the walk.
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
        raise ValueError("the file goes on, or is cut")
    return elements, syntax
