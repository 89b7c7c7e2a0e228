"""What an outgoing file says beyond what its writer always says.

With an `Expectation`, the elements that the file's own template holds are taken off first, each as often as the
template has it, and slots with exactly the value that the release gives them; of a clean file nothing is left, so no
name, number or date of any cohort can be met by chance. Without one (an archive that another tool made), everything
that the file says is looked at.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pydicom.charset import convert_encodings, decode_bytes

from synthrelease.audit.expectation import Expectation
from synthrelease.audit.headers.annex_e import action
from synthrelease.audit.headers.fingerprints import LEAST_SHOWN, Vocabulary
from synthrelease.audit.headers.layout import Layout, Span, layout, usual_vr
from synthrelease.audit.headers.tokens import fold, joined, pair, tokens
from synthrelease.dicom.template import Template
from synthrelease.records.manifest import MANIFEST

LEAST_IN_WORDS = 6
"""Characters of a value that prove something inside other words."""

_TEXT = frozenset((b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM"))
_TEXTS = _TEXT | {b"UC", b"UI", b"UR", b"UT"}
_CHARSET = 0x00080005
_LOOSE = b""
_PRINTABLE = re.compile(rb"[\x20-\x7e\x80-\xff]{4,}")
_PRINTABLE_IN_MUCH = re.compile(rb"[\x20-\x7e]{8,}")
MUCH = 4096
"""Bytes of binary from which on only longer texts are picked out: shorter ones are there by chance."""
_WIDE = re.compile(rb"(?:[\x20-\x7e]\0){4,}|(?:\0[\x20-\x7e]){4,}")
_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz^ .,_=-"
_NAMES = re.compile("(?<![A-Za-z0-9])([A-Za-z]{2,})[ ^.,_=-]+([A-Za-z]{2,})(?![A-Za-z0-9])")
_MARKED = bytes(byte in _PLAIN for byte in range(256))
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""What plain text does not hold, but UTF-16 does, and escape sequences."""
_OTHER_SCRIPTS = ("utf-16-le", "utf-16-be", "iso2022_jp", "shift_jis", "euc_jp", "euc_kr", "gb18030", "big5")
_OTHER_LETTERS = ("iso8859_2", "iso8859_5", "iso8859_7", "cp1251", "koi8_r")
_PROOF_IN_PROSE = ("f:", "u:", "p:", "h:", "d:", "n:")


@dataclass(frozen=True)
class Said:
    """What one outgoing file says.

    Attributes:
        tokens: Forms of its texts (`tokens.tokens`).
        runs: Joined texts with the least length of a value that proves something inside them.
        shown: Joined texts among the pixels; see `fingerprints.proves_among_pixels`.
        places: Parts that a template leaves empty and this file does not, in public words.
        is_dicom: Whether it is a DICOM file.
    """

    tokens: frozenset[str]
    runs: tuple[tuple[str, int], ...] = ()
    shown: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    is_dicom: bool = False


def said_in(path: Path, folder: Path, expectation: Expectation | None) -> Said:
    """What the file at `path` says; see `said`."""
    return said(path.read_bytes(), path.relative_to(folder).as_posix(), expectation)


def said(content: bytes, name: str, expectation: Expectation | None) -> Said:
    """What a file says.

    Args:
        content: Its bytes.
        name: Its path relative to the archive, with ``/``.
        expectation: What the archive must be; None: unknown.
    """
    found = layout(content)
    expected = expectation.release.expected(name) if expectation is not None else None
    ours = expected is not None or _known_text(name, expectation)
    named = set() if ours else _of_name(name)
    if found is None:
        prose = list(_prose(content, name, expectation))
        return Said(frozenset(named.union(*map(_prose_forms, prose))), _as_runs(prose))
    if expected is None:
        spans, view = found.spans, None
        places: tuple[str, ...] = ()
    else:
        spans, view = min(
            ((_beyond(found, view, expected.values), view) for view in map(_view, expected.templates)),
            key=lambda pair: len(pair[0]),
        )
        places = tuple(_places(found, spans, view))
    chunks = [chunk for span in spans for chunk in _chunks(found.content, span, whole=view is not None)]
    before = b"" if view is not None and view.before == _before(found) else _before(found)
    chunks += [(_LOOSE, part) for part in (before[:128], found.content[found.rest :]) if part.strip(b"\0")]
    charset = _charset(found) if chunks else []
    texts = [text for vr, raw in chunks for text in _texts(raw, vr, charset, thorough=view is not None)]
    shown = _shown([found.content[start:end] for start, end in found.pixels])
    forms = frozenset(named.union(_pairs(shown), *map(_forms, texts)))
    return Said(forms, _as_runs(texts), tuple(filter(None, ["\n".join(map(joined, shown))])), places, True)


@lru_cache(maxsize=65536)
def _forms(text: str) -> frozenset[str]:
    """Forms of one text; most texts of an archive are in all of its files."""
    return frozenset(tokens(text))


def _prose_forms(text: str) -> set[str]:
    """Forms of a text file, without single words that hold no digit: prose is full of ordinary ones."""
    return {form for form in tokens(text) if form.startswith(_PROOF_IN_PROSE) or any(map(str.isdigit, form))}


def _as_runs(texts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    words = "\n".join(run for text in texts if len(run := joined(text)) >= LEAST_IN_WORDS)
    return ((words, LEAST_IN_WORDS),) if words else ()


def _shown(pixels: Iterable[bytes]) -> list[str]:
    """Plain text among pixels: a character a byte, or a character a pixel of two bytes."""
    return [run.decode("ascii") for part in pixels for view in (part, part[::2]) for run in _plain_runs(view)]


def _pairs(shown: Iterable[str]) -> set[str]:
    """Two words with a separator among pixels, long enough together: ``SMITH^ANNA``."""
    found = (names for run in shown for names in _NAMES.finditer(run) if len(names[0]) >= LEAST_SHOWN)
    return {pair(fold(names[1]), fold(names[2])) for names in found}


def _chunks(content: bytes, span: Span, *, whole: bool) -> Iterator[tuple[bytes, bytes]]:
    """An element's value; its head too where it may be loose text that was taken for an element."""
    if span.end > span.value:
        yield span.vr, content[span.value : span.end]
        if whole or usual_vr(span.tag) == b"UN":
            yield b"UN", content[span.start : span.end]


def _plain_runs(pixels: bytes) -> Iterator[bytes]:
    """Runs of ten letters, digits and separators or more (ten times faster than a regular expression)."""
    marked = pixels.translate(_MARKED)
    at = marked.find(b"\1" * LEAST_SHOWN)
    while at >= 0:
        end = marked.find(b"\0", at)
        end = end if end >= 0 else len(pixels)
        yield pixels[at:end]
        at = marked.find(b"\1" * LEAST_SHOWN, end)


def _of_name(name: str) -> set[str]:
    """Forms of a file's own name and its folders'."""
    parts = PurePosixPath(name).with_suffix("").parts
    return set().union(*(tokens(part) for part in parts))


def _known_text(name: str, expectation: Expectation | None) -> bool:
    return expectation is not None and (name in expectation.texts or name == MANIFEST)


def _prose(content: bytes, name: str, expectation: Expectation | None) -> Iterator[str]:
    """A file that is not DICOM as text, without what the policy itself gives."""
    if expectation is not None:
        if hashlib.sha256(content).hexdigest() == expectation.texts.get(name):
            return
        if name == MANIFEST:
            content = b"\n".join(line for line in content.splitlines() if not _listed(line, expectation))
    if not content.strip():
        return
    if b"\0" in content:
        yield from _texts(content, b"UN", [], thorough=False)
        return
    try:
        yield content.decode()
    except UnicodeDecodeError:
        yield content.decode("latin-1")


def _listed(line: bytes, expectation: Expectation) -> bool:
    """Whether a line of the manifest names a file that the archive must have, after a digest."""
    digest, gap, name = line[:64], line[64:66], line[66:].decode("utf-8", "replace")
    known = name in expectation.texts or expectation.release.expected(name) is not None
    return known and gap == b"  " and re.fullmatch(rb"[0-9a-f]{64}", digest) is not None


def _before(found: Layout) -> bytes:
    """Preamble and prefix."""
    return found.content[: found.spans[0].start] if found.spans else b""


def _charset(found: Layout) -> list[str]:
    """Python's names of the character sets that a file declares; those that nobody knows are left out."""
    declared = [found.content[s.value : s.end] for s in found.spans if s.tag == _CHARSET][:1]
    if not declared:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(convert_encodings(declared[0].decode("ascii").strip("\0 ").split("\\")))
    except (UnicodeDecodeError, LookupError, ValueError):
        return []


def _decoded(raw: bytes, charset: list[str]) -> str:
    """A value in its declared character sets, escape sequences obeyed (PS3.5, section 6.1.2.5)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(decode_bytes(raw, charset, {"^", "=", "\\"}))


def _texts(raw: bytes, vr: bytes, charset: list[str], *, thorough: bool) -> Iterator[str]:
    """The texts that a value may be read as.

    Args:
        raw: The value.
        vr: Its value representation; `_LOOSE` for bytes that belong to no element.
        charset: As declared by the file.
        thorough: Whether other character sets than the declared one, UTF-8 and Latin-1 are tried.
    """
    plain = raw.strip(b"\0 ")
    if not plain:
        return
    much = len(plain) > MUCH and not thorough
    if vr in _TEXTS or thorough or (vr == _LOOSE and not much):
        if plain.isascii() and not _CONTROL.search(plain):
            yield plain.decode("ascii")
            return
        if charset:
            yield _decoded(plain, charset)
        others = _OTHER_SCRIPTS + _OTHER_LETTERS if thorough or vr == _LOOSE else ()
        for encoding in ("utf-8", "latin-1", *others):
            yield raw.decode(encoding, "ignore")
    if vr not in _TEXTS:
        yield from (run.decode("latin-1") for run in (_PRINTABLE_IN_MUCH if much else _PRINTABLE).findall(plain))
        yield from (run.replace(b"\0", b"").decode("ascii") for run in _WIDE.findall(raw))


@dataclass(frozen=True, eq=False)
class _View:
    """A template as elements: how often it has each, and those with slots.

    Attributes:
        before: Preamble and prefix.
        fixed: Whole elements, head and value, that hold no slot.
        slotted: For each element with slots: its bytes, and where each slot stands in them.
    """

    before: bytes
    fixed: Counter[bytes]
    slotted: list[tuple[bytes, list[tuple[str, int, int]]]] = field(default_factory=list)

    def filled(self, values: Mapping[str, bytes]) -> Iterator[bytes]:
        """Elements with slots as they stand in the file with these values."""
        for element, slots in self.slotted:
            whole = bytearray(element)
            for name, start, end in slots:
                whole[start:end] = values.get(name, b"")
            yield bytes(whole)


@lru_cache(maxsize=512)
def _view(template: Template) -> _View:
    found = layout(template.content)
    if found is None:
        raise ValueError("a template is no DICOM file")
    view = _View(_before(found), Counter())
    for span in found.spans:
        inside = [
            (slot.name, slot.start - span.start, slot.end - span.start)
            for slot in template.slots
            if slot.start >= span.start and slot.end <= span.end
        ]
        element = template.content[span.start : span.end]
        if inside:
            view.slotted.append((element, inside))
        else:
            view.fixed[element] += 1
    return view


def _beyond(found: Layout, view: _View, values: Mapping[str, bytes]) -> list[Span]:
    """Elements that the template does not have, or not that often."""
    content = found.content
    left = dict(view.fixed)
    for element in view.filled(values):
        left[element] = left.get(element, 0) + 1
    novel = []
    for span in found.spans:
        element = content[span.start : span.end]
        if count := left.get(element, 0):
            left[element] = count - 1
        else:
            novel.append(span)
    return novel


def _places(found: Layout, novel: list[Span], view: _View) -> Iterator[str]:
    """Parts of a file that no template of ours fills and that Annex E wants empty."""
    if _before(found) != view.before:
        yield "preamble"
    if found.rest != len(found.content):
        yield "bytes that are no element"
    for span in novel:
        group = span.tag >> 16
        if group == 2:
            yield "file meta information"
        elif group & 1:
            yield "private attribute"
        elif 0x6000 <= group <= 0x60FF:
            yield "overlay"
        elif 0x5000 <= group <= 0x50FF:
            yield "curve"
        elif action(span.tag) is not None and (span.vr == b"SQ" or found.content[span.value : span.end].strip(b"\0 ")):
            yield "attribute of PS3.15 Annex E"


def vocabulary(templates: Iterable[Template]) -> Vocabulary:
    """Everything that templates say outside their slots."""
    forms: set[str] = set()
    runs: list[str] = []
    for template in templates:
        found = layout(template.content)
        fixed = _view(template).fixed
        for span in found.spans if found is not None else ():
            if template.content[span.start : span.end] in fixed:
                for text in _texts(template.content[span.value : span.end], span.vr, [], thorough=False):
                    forms |= _forms(text)
                    runs.append(joined(text))
    return Vocabulary(frozenset(forms), "\n".join(dict.fromkeys(runs)))
