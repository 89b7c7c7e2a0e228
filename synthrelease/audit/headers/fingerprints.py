"""Keyed digests of the forms of real values: what an outgoing file says can be asked for, and nothing can be read back.

Eight bytes a form, kept sorted, under a key that lives as long as the scan. For substrings, the first six characters of
a value are hashed as well (multilinear, 64 bits, same life), so that all places of a text are asked at once:

    h(x_1..x_6) = sum r_i x_i mod 2^64        r_i random and odd

Two different forms share a digest with probability 2^-64; a scan of a million files asks far fewer than 2^40 times.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.audit.headers.evidence import LEAST_RUN, Value

LEAST_SHOWN, LEAST_SHOWN_LETTERS, LEAST_SHOWN_DIGITS = 10, 12, 24
"""Characters of a value among pixels: letters and digits, letters alone, digits alone. See `proves_among_pixels`."""

_PENDING, _RECENT = 1 << 20, 1 << 12
_BLOOM_BITS = 22

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Vocabulary:
    """What a writer's templates say, whatever the patient.

    Attributes:
        forms: Forms of every text.
        run: All texts joined, for values that stand inside words.
    """

    forms: frozenset[str] = frozenset()
    run: str = ""

    def says(self, token: str) -> bool:
        """Whether a form stands in the templates."""
        return token[2:] in self.run if token.startswith("r:") else token in self.forms


def proves_among_pixels(run: str) -> bool:
    """Whether a value is too long and too varied to stand among pixels by chance.

    A background at grey level 52 says nothing but digits, one at 70 nothing but letters. There a place agrees with a
    value of n digits with probability 10^-n, of n letters 26^-n, so chance makes fewer than 10^-6 hits of

        24 digits      in 10^11 pixels for 10^6 values
        12 letters     in 10^7 pixels at such a level for 10^4 values
        10 of both     in 10^6 pixels at a level that shows letters and digits alike, for 10^3 values (36^-10)

    A flat background repeats one character, as a dummy value does: there must be some variety.

    >>> [proves_among_pixels(run) for run in ("44012051", "mrn4401205", "abernathybeatrix", "aaaaaaaaaaaaaaaa")]
    [False, True, True, False]
    """
    letters = sum(map(str.isalpha, run))
    if len(set(run)) < 5:
        return False
    if 0 < letters < len(run):
        return len(run) >= LEAST_SHOWN
    return len(run) >= (LEAST_SHOWN_LETTERS if letters else LEAST_SHOWN_DIGITS)


class Fingerprints:
    """The forms of all real values, by the attribute that they came from.

    Args:
        template: What the writer's own template says, as forms and joined text.
        exact: The template of each outgoing file is known and taken off before anything is asked. Then weak forms count
            too, and a value that the template says as well is kept: it may stand where the template does not have it.
    """

    def __init__(self, template: Vocabulary, *, exact: bool) -> None:
        self.exact = exact
        self.template = template
        self.shared: set[str] = set()
        """Attributes, free text left out, some of whose values the template says as well."""
        self._key = secrets.token_bytes(32)
        self._origins: dict[str, int] = {}
        self._digests = np.zeros(0, np.uint64)
        self._attribute = np.zeros(0, np.uint16)
        self._pending: dict[int, int] = {}
        # The slices of one study say the same again and again.
        self._recent: set[tuple[str, str]] = set()
        self._factors = np.frombuffer(secrets.token_bytes(8 * LEAST_RUN), np.uint64) | np.uint64(1)
        self._anchors: dict[int, set[int]] = {}
        self._bloom = np.zeros(1 << _BLOOM_BITS, np.bool_)

    def __len__(self) -> int:
        self._settle()
        return len(self._digests)

    def add(self, value: Value) -> bool:
        """Remember the forms of one real value; False when that was done lately."""
        if (value.origin, value.text) in self._recent:
            return False
        if len(self._recent) > _RECENT:
            self._recent.clear()
        self._recent.add((value.origin, value.text))
        attribute = self._origins.setdefault(value.origin, len(self._origins))
        for token, strong in value.forms:
            if strong and value.kind != "prose" and self.template.says(token):
                self.shared.add(value.origin)
            if not self.admits(token, strong):
                continue
            self._pending.setdefault(self._digest(token), attribute)
            if token.startswith("r:"):
                anchor = self._windows(token[2:])[0]
                self._anchors.setdefault(int(anchor), set()).add(len(token) - 2)
                self._bloom[int(anchor) >> (64 - _BLOOM_BITS)] = True
        if len(self._pending) > _PENDING:
            self._settle()
        return True

    def admits(self, token: str, strong: bool) -> bool:
        """Whether a form counts as evidence in this scan."""
        return self.exact or (strong and not self.template.says(token))

    def hits(
        self, tokens: Iterable[str], runs: Iterable[tuple[str, int]] = (), shown: Iterable[str] = ()
    ) -> dict[str, str]:
        """Forms of real values that stand in a text, each with the attribute it came from. Private.

        Args:
            tokens: Forms of the text.
            runs: Joined texts in which values may stand anywhere, forwards or backwards, each with the least length
                that proves something there.
            shown: Joined texts found among pixels, where only strong text proves anything.
        """
        asked = list(tokens)
        for run, least in runs:
            for text in (run, run[::-1]):
                asked += self._candidates(text, least)
        for run in shown:
            for text in (run, run[::-1]):
                asked += [form for form in self._candidates(text, LEAST_SHOWN) if proves_among_pixels(form[2:])]
        if not asked:
            return {}
        self._settle()
        digests = np.array([self._digest(token) for token in asked], np.uint64)
        at = np.searchsorted(self._digests, digests).clip(max=max(len(self._digests) - 1, 0))
        if not len(self._digests):
            return {}
        names = list(self._origins)
        return {asked[i]: names[self._attribute[at[i]]] for i in np.flatnonzero(self._digests[at] == digests)}

    def _candidates(self, text: str, least: int) -> list[str]:
        """Substrings that begin like a value and are as long."""
        found: list[str] = []
        if len(text) < LEAST_RUN:
            return found
        windows = self._windows(text)
        for start in np.flatnonzero(self._bloom[windows >> np.uint64(64 - _BLOOM_BITS)]):
            for length in self._anchors.get(int(windows[start]), ()):
                if length >= least and start + length <= len(text):
                    found.append("r:" + text[start : start + length])
        return found

    def _windows(self, text: str) -> U64:
        """Hash of every six characters in a row, (len(text) - 5,)."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        count = len(codes) - LEAST_RUN + 1
        total = np.zeros(count, np.uint64)
        for i, factor in enumerate(self._factors):
            total += factor * codes[i : i + count]
        return total

    def _digest(self, token: str) -> int:
        return int.from_bytes(
            hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest(), "little"
        )

    def _settle(self) -> None:
        """Sort in what was added since."""
        if not self._pending:
            return
        fresh = np.fromiter(self._pending, np.uint64, len(self._pending))
        attribute = np.fromiter(self._pending.values(), np.uint16, len(self._pending))
        digests, first = np.unique(np.concatenate([self._digests, fresh]), return_index=True)
        self._attribute = np.concatenate([self._attribute, attribute])[first]
        self._digests = digests
        self._pending = {}
