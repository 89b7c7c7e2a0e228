"""The forms in which a text may give somebody away: words, pairs of words, numbers, dates, UIDs, digests, and encodings.

Both sides use them: the values of real headers, and whatever an outgoing file says. A form is one short string with
its kind in front::

    v:port ellery    the whole text             w:abernathy   a word, without case and accents
    f:ann doe        two words, either order    c:山田         characters of a script without spaces
    n:4401205        a number, zeros cut off    d:20190413    a date, however written
    u:1.2.3.4        a UID                      p:1.2.3       its parent
    h:5d41402abc4b   the start of a digest (hexadecimal, or decimal in a UID)

Substrings (``xxMRN4401205yy``, ``DoeJohn``) are looked for in `joined` text by `fingerprints.Fingerprints`.
"""

from __future__ import annotations

import base64
import binascii
import html
import itertools
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from urllib.parse import unquote

LEAST_WORD = 3
LEAST_NUMBER = 5
"""A number of fewer digits is in every file."""

DIGEST, SHORT_DIGEST, DECIMALS = 12, 8, 20
"""Digits of a digest that are compared: hexadecimal (48 bits), hexadecimal where weak forms count, decimal."""

UID = re.compile(r"(?<![0-9.])(?:2\.25\.[0-9]{6,}|[0-9]+(?:\.[0-9]+){3,})(?![0-9])")
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}(?![a-z])")
_GROUPS = tuple(
    re.compile(rf"[0-9]+(?:{gap}[0-9]+)*") for gap in (r"[-./: ]", r"[^0-9A-Za-z\r\n\t]", r"[^0-9A-Za-z\s,;|]")
)
"""Groups of digits with one character between: as people write numbers, any, and any that does not part columns."""
_SCRIPT = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{8,}(?![0-9a-f])")
_LONG_HEX = re.compile(r"(?<![0-9a-zA-Z])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{16,}(?![0-9a-zA-Z])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_MONTH = re.compile(
    rf"([0-9]{{1,2}})(?:st|nd|rd|th)?[ .,-]*({'|'.join(_MONTHS)})[a-z]*[ .,-]*([0-9]{{4}}|[0-9]{{2}})"
)
_MONTH_DAY = re.compile(rf"({'|'.join(_MONTHS)})[a-z]*[ .,-]*([0-9]{{1,2}})(?:st|nd|rd|th)?[ .,-]+([0-9]{{4}})")
_NUMERIC = re.compile(r"(?<![0-9])([0-9]{1,4})([-./ ])([0-9]{1,2})\2([0-9]{1,4})(?![0-9])")
_CLOCK = re.compile("(?:[01][0-9]|2[0-3]|$)(?:[0-5][0-9]|$)(?:[0-5][0-9]|60|$)")
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,6}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}){5,}")
_BASE32 = re.compile(r"[A-Z2-7]{8,}=*")
_FLAT = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"})


def fold(text: str) -> str:
    """Text without case, accents and widths, digits of every script as 0 to 9.

    >>> fold("WŁODARCZYK Ａé")
    'wlodarczyk ae'
    """
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_FLAT)
    western = (str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(western))


def words(text: str) -> list[str]:
    """Letters and digits of a text, folded, in order."""
    return _WORD.findall(fold(text))


def joined(text: str) -> str:
    """A text without anything between its letters and digits: what survives when separators are dropped."""
    return "".join(words(text))


def tokens(text: str, *, deep: int = 2) -> set[str]:
    """Every form in a text.

    Args:
        text: Decoded, any length.
        deep: How many layers of encoding (base64, hexadecimal, %xx, HTML) are taken off on the way.
    """
    parts = words(text)
    if not parts:
        return set()
    found = {"v:" + " ".join(parts)}
    found |= {"w:" + part for part in parts if len(part) >= LEAST_WORD and not part.isdigit()}
    found |= {pair(a, b) for a, b in itertools.pairwise(parts) if a.isalpha() and b.isalpha()}
    if not (text.islower() or text.isupper()):
        found |= {"w:" + part.lower() for part in _CAMEL.findall(text) if len(part) >= LEAST_WORD}
    flat = text if text.isascii() else fold(text)
    if not text.isascii():
        found |= set(script(flat))
    uids = UID.findall(flat)
    for uid in uids:
        found |= uid_forms(uid)
    rest = UID.sub(" ", flat) if uids else flat
    found |= numbers(_LONG_HEX.sub(" ", rest)) | dates(rest)
    for run in _HEX.findall(text.lower()):
        if not run.isdigit() or len(run) >= 2 * SHORT_DIGEST:
            found |= {"h:" + run[:DIGEST], "h:" + run[:SHORT_DIGEST]}
    if deep:
        for inner in _decoded(text):
            found |= tokens(inner, deep=deep - 1)
    return found


def pair(a: str, b: str) -> str:
    """Two folded words in either order."""
    return f"f:{min(a, b)} {max(a, b)}"


def script(folded: str) -> Iterator[str]:
    """Neighbouring characters, two and three, of scripts that are written without spaces."""
    for run in _SCRIPT.findall(folded):
        for size in (2, 3):
            yield from (f"c:{run[i : i + size]}" for i in range(len(run) - size + 1))


def uid_forms(uid: str) -> set[str]:
    """A UID, its parent, its long components as numbers, and the start of one that may be a digest."""
    found = {"u:" + uid, "p:" + uid.rpartition(".")[0]}
    for component in uid.split("."):
        if len(component) >= 8:
            found.add(number(component))
        if len(component) >= DECIMALS:
            found |= {"h:" + component[:DECIMALS], "h:" + component[1 : DECIMALS + 1]}
    return found


def number(digits: str) -> str:
    """A number without leading zeros."""
    return "n:" + digits.lstrip("0")


def numbers(text: str) -> set[str]:
    """Numbers of five digits and more; groups of digits also without what separates them."""
    found: set[str] = set()
    for run in {run for chain in _GROUPS for run in chain.findall(text)}:
        groups = re.findall("[0-9]+", run)
        for digits in {*groups, "".join(groups)}:
            if len(digits.lstrip("0")) >= LEAST_NUMBER:
                found.add(number(digits))
    return found


def dates(text: str) -> set[str]:
    """Dates in the forms that people and programs write: 20190413, 13.4.2019, 4/13/19, 13 April 2019, seconds of 1970."""
    found: set[str] = set()
    for first, _, second, third in _NUMERIC.findall(text):
        if len(first) == 4:
            found |= _days(first, second, third)
        elif len(third) in (2, 4):
            found |= _days(third, second, first) | _days(third, first, second)
    for digits in re.findall(r"(?<![0-9])[0-9]{8,17}(?![0-9])", text):
        if len(digits) in (8, 10, 12, 14, 17) and _CLOCK.match(digits[8:]):
            found |= _days(digits[:4], digits[4:6], digits[6:8])
        if len(digits) == 8:
            found |= _days(digits[4:], digits[2:4], digits[:2]) | _days(digits[4:], digits[:2], digits[2:4])
        seconds = int(digits) // 1000 if len(digits) in (12, 13) else int(digits)
        if len(digits) in (9, 10, 12, 13) and seconds % 86400 == 0:
            found.add(f"d:{datetime.fromtimestamp(seconds, UTC):%Y%m%d}")
    if any(month in (low := text.lower()) for month in _MONTHS):
        for day, month, year in _DAY_MONTH.findall(low):
            found |= _days(year, str(_MONTHS.index(month) + 1), day)
        for month, day, year in _MONTH_DAY.findall(low):
            found |= _days(year, str(_MONTHS.index(month) + 1), day)
    return found


def _days(year: str, month: str, day: str) -> set[str]:
    """The date, if there is such a day between 1000 and 9999; both centuries for a year of two digits.

    No year is too strange: cohorts are shifted to 2150, and dummies are born in 9999. A date that no real header has
    is never a hit.
    """
    found = set()
    for y in (int(year),) if len(year) == 4 else (1900 + int(year), 2000 + int(year)):
        try:
            if y >= 1000:
                found.add(f"d:{date(y, int(month), int(day)):%Y%m%d}")
        except ValueError:
            continue
    return found


def _decoded(text: str) -> Iterator[str]:
    """What stands behind base64, base32, hexadecimal digits, %xx, HTML entities and \\u escapes, when it is text."""
    if "%" in text and (plain := unquote(text)) != text:
        yield plain
    if "&" in text and (plain := html.unescape(text)) != text:
        yield plain
    if "\\u" in text:
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    for run in _ENCODED.findall(text):
        raws: list[bytes] = []
        bare = run.rstrip("=")
        if _HEXADECIMAL.fullmatch(bare):
            raws.append(bytes.fromhex(bare))
        if _BASE32.fullmatch(bare):
            raws += _try(base64.b32decode, bare + "=" * (-len(bare) % 8))
        if len(bare) % 4 != 1:
            raws += _try(base64.urlsafe_b64decode, bare.translate(_URL_SAFE) + "=" * (-len(bare) % 4))
        for raw in raws:
            if (inner := _as_text(raw)) is not None:
                yield inner


_URL_SAFE = str.maketrans("+/", "-_")


def _try(decode: object, text: str) -> list[bytes]:
    try:
        return [decode(text)]  # type: ignore[operator]
    except (binascii.Error, ValueError):
        return []


def _as_text(raw: bytes) -> str | None:
    """Bytes as text, when they are nothing but text of four characters or more."""
    if b"\0" in raw:
        raw = raw.replace(b"\0", b"")  # UTF-16
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) >= 4 and text.isprintable() else None
