"""A few digests recognise a cohort."""

from __future__ import annotations

import hashlib

from synthrelease.features.uld.sketch import KEPT, known_among, sketch_of


def digests(first, last):
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, last)]


def test_a_sketch_is_short_sorted_and_does_not_depend_on_the_order():
    sketch = sketch_of(digests(0, 5000))
    assert len(sketch) == KEPT
    assert sketch == sketch_of(reversed(digests(0, 5000))) == tuple(sorted(sketch))


def test_a_tenth_of_the_cohort_is_recognised_and_strangers_are_not():
    sketch = sketch_of(digests(0, 5000))
    assert known_among(sketch, digests(4500, 20_000)) >= 10
    assert known_among(sketch, digests(5000, 20_000)) == 0
    assert known_among(sketch_of(digests(0, 3)), digests(2, 9)) == 1
