"""Several threads: all parts done, the same results, the first error told."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from synthrelease.audit.images import ImageSet
from synthrelease.audit.search import CopySearch, Patients
from synthrelease.audit.side_by_side import side_by_side


@pytest.fixture
def threads():
    """Sets how many threads torch has, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_every_part_is_done_by_as_many_threads_as_torch_has(threads):
    threads(3)
    meeting = threading.Barrier(3, timeout=30)
    seen: set[int] = set()

    def act(part: int) -> None:
        meeting.wait()  # passes only when three parts are under way at once
        assert torch.get_num_threads() == 1
        seen.add(part)

    side_by_side(act, range(6))
    assert seen == set(range(6))
    assert torch.get_num_threads() == 3


def test_an_error_ends_it_and_is_told(threads):
    threads(2)
    begun: list[int] = []

    def act(part: int) -> None:
        begun.append(part)
        time.sleep(0.001)
        raise ZeroDivisionError(part)

    with pytest.raises(ZeroDivisionError):
        side_by_side(act, range(1000))
    assert len(begun) < 1000
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("kind", ["whole", "parts", "masks"])
def test_matches_are_the_same_to_the_bit_whatever_the_number_of_threads(threads, kind):
    from synthrelease.audit.comparisons import COMPARISONS
    from synthrelease.cohort.phantom.patients import simulate_patient

    people = [simulate_patient(7, k, 64).images[0] for k in range(110)]
    images = np.stack([p.pixels for p in people])[:, None] * np.float32(2) - np.float32(1)
    masks = np.stack([[p.masks["left_lung"], p.masks["heart"]] for p in people]).astype(np.float32)
    everyone = ImageSet(images, masks, np.zeros(110, dtype=np.int64), np.arange(110))
    patients = Patients.of(everyone.take(np.arange(20)), everyone.take(np.arange(20, 40)))
    probes = everyone.take(np.arange(40, 110))
    comparison = COMPARISONS[kind](patients)
    found = []
    for count in (1, 2):
        threads(count)
        found.append(CopySearch(comparison, patients, probes).synthetic)
    for name, matches in found[0].items():
        for part in ("near", "who", "blocks", "decoy", "best_probe"):
            assert np.array_equal(getattr(matches, part), getattr(found[1][name], part)), (name, part)
