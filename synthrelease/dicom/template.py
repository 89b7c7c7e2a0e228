"""A DICOM file as a form: fixed bytes with slots for what differs from file to file.

A form is found, not written by hand: two files of the slow path (pydicom, highdicom) that hold other values are laid
over each other.

    slots of a value = the places where the first file holds its first value and the second file its second one
    everything else must be the same byte in both, and filling the form with the second values must give the second file

So a form is right or it is refused; rendering it is a copy and a few overwrites, a thousand times faster than building
the file again. It serves a second purpose: what a file holds outside the slots cannot have come from anywhere but the
settings that the form was made from (see `Template.problems`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from synthrelease.errors import IntegrityError

Buffer = bytes | memoryview

PIXELS = "pixels"
"""Name of the slot, or of the tail, that holds Pixel Data."""


@dataclass(frozen=True)
class Slot:
    """One place of a value.

    Attributes:
        name: Of the value; several slots may share it, then all hold the same bytes.
        start: First byte in the file.
        length: Number of bytes.
    """

    name: str
    start: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the slot."""
        return self.start + self.length


@dataclass(frozen=True)
class Template:
    """Fixed bytes with slots; picklable.

    Attributes:
        content: A whole file, from the preamble on; what stands in its slots means nothing.
        slots: In the order of the file; they do not overlap.
        tail: Name of a value of any length that follows `content`, for compressed pixels; "" when there is none.
    """

    content: bytes
    slots: tuple[Slot, ...]
    tail: str = ""

    @functools.cached_property
    def _fixed(self) -> tuple[bytes, ...]:
        """The bytes before, between and after the slots."""
        starts = [0, *(slot.end for slot in self.slots)]
        ends = [*(slot.start for slot in self.slots), len(self.content)]
        return tuple(self.content[start:end] for start, end in zip(starts, ends, strict=True))

    @property
    def names(self) -> frozenset[str]:
        """The values that a file of this form needs."""
        return frozenset(slot.name for slot in self.slots) | ({self.tail} if self.tail else set())

    def render(self, values: Mapping[str, Buffer]) -> bytes:
        """The file that holds these values; further values are ignored.

        Args:
            values: Bytes, or a view of bytes, for every name, of the slots' length.

        Raises:
            ValueError: A value has another length than its slot.
            KeyError: A value is missing.
        """
        parts: list[Buffer] = [self._fixed[0]]
        for slot, following in zip(self.slots, self._fixed[1:], strict=True):
            value = values[slot.name]
            if len(value) != slot.length:
                raise ValueError(f"{slot.name} has {len(value)} bytes where {slot.length} belong")
            parts += (value, following)
        if self.tail:
            parts.append(values[self.tail])
        return b"".join(parts)

    def problems(self, content: bytes) -> list[str]:
        """What keeps a file from being this form with some values in its slots; empty when nothing does.

        Args:
            content: The file.

        Returns:
            "length", names of elements that differ outside the slots, and names of slots that disagree with each
            other. Public words only: nothing of the file's values is told.
        """
        expected, size = len(self.content), len(content)
        if size < expected or (size > expected and not self.tail):
            return ["length"]
        found = []
        for start, fixed in zip([0, *(slot.end for slot in self.slots)], self._fixed, strict=True):
            if not content.startswith(fixed, start):
                places = _differences(content, self.content, start, start + len(fixed))
                found += [self._element_at(place) for place in places]
        seen: dict[str, bytes] = {}
        for slot in self.slots:
            value = content[slot.start : slot.end]
            if seen.setdefault(slot.name, value) != value:
                found.append(f"{slot.name} in two places")
        return list(dict.fromkeys(found))

    def values(self, content: bytes) -> dict[str, bytes]:
        """What stands in the slots of a file of this form (see `problems`), the tail included."""
        found: dict[str, bytes] = {}
        for slot in self.slots:
            found.setdefault(slot.name, content[slot.start : slot.end])
        if self.tail:
            found[self.tail] = content[len(self.content) :]
        return found

    def _element_at(self, place: int) -> str:
        """The keyword of the top-level element around a byte, for messages."""
        import pydicom

        # The delimiter that ends an element of undefined length is part of the tail.
        whole = pydicom.dcmread(BytesIO(self.content + b"\xfe\xff\xdd\xe0\0\0\0\0" * bool(self.tail)))
        found = "preamble" if place < 128 else "prefix"
        for part in (whole.file_meta, whole):
            for tag in list(part.keys()):  # a data set's own iterator reads the elements, this does not
                item = part.get_item(tag)
                start = getattr(item, "value_tell", None) or getattr(item, "file_tell", None) or 0
                # The head of an element (8 or 12 bytes) lies before its value.
                if start - 12 <= place:
                    found = pydicom.datadict.keyword_for_tag(tag) or str(tag)
        return found


def _differences(one: bytes, other: bytes, start: int, end: int) -> list[int]:
    """The first byte of every run of differing bytes in a range, at most eight."""
    found = []
    inside = False
    for at in range(start, end):
        differs = one[at] != other[at]
        if differs and not inside:
            found.append(at)
            if len(found) == 8:
                break
        inside = differs
    return found


def template_between(first: bytes, second: bytes, values: Sequence[Mapping[str, bytes]], *, tail: str = "") -> Template:
    """The form of two files that differ in the given values only.

    Args:
        first: A file.
        second: Another one, made with other values.
        values: What the first and what the second file holds, by name; a value that is the same in both gets no slot.
        tail: Name of the value that ends both files and may have any length.

    Returns:
        The form; `render` gives `first` and `second` back, which is checked.

    Raises:
        IntegrityError: The files differ in something else, or a value has another length in the second file.
    """
    mine, theirs = values
    if tail:
        first, second = first.removesuffix(mine[tail]), second.removesuffix(theirs[tail])
    taken = bytearray(len(first))
    slots: list[Slot] = []
    # The longest first: a short value may be met inside a long one, which is not its place.
    for name in sorted((n for n in mine if n != tail), key=lambda n: (-len(mine[n]), n)):
        if mine[name] != theirs[name]:
            slots += _places(first, second, name, mine[name], theirs[name], taken)
    made = Template(first, tuple(sorted(slots, key=lambda slot: slot.start)), tail)
    for whole, held in ((first, mine), (second, theirs)):
        if _rendered(made, held) != whole + (held[tail] if tail else b""):
            raise IntegrityError(
                "two files of one form differ in more than their values, so they cannot be written from a template",
                fix="Install the versions of pydicom and highdicom that synthrelease was tested with.",
            )
    return made


def _places(first: bytes, second: bytes, name: str, mine: bytes, theirs: bytes, taken: bytearray) -> list[Slot]:
    found = []
    length = len(mine)
    at = first.find(mine)
    while at >= 0:
        if second[at : at + length] == theirs and not any(taken[at : at + length]):
            taken[at : at + length] = b"\1" * length
            found.append(Slot(name, at, length))
        at = first.find(mine, at + 1)
    return found


def _rendered(template: Template, values: Mapping[str, bytes]) -> bytes | None:
    try:
        return template.render(values)
    except ValueError:
        return None
