"""A flagged piece or mask is shown to the house beside the patient it came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthrelease.audit.planted import replace_share
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit

PLACE = 17


def audited(case, check):
    case = replace(case, measures_power=False)
    _, annex = run_audit(case, load_profile("quick", check_ids()), 0, only=[check])
    return annex.look_alikes


def test_a_copied_half_is_shown_beside_its_patient(make_world):
    def leak(made, train, rng):
        one = replace_share(made.take(np.array([PLACE])), train.take(np.array([5])), "half_image", 1, rng)
        images = made.images.copy()
        images[PLACE] = one.images[0]
        return replace(made, images=images)

    pieces = [pair for pair in audited(make_world(41, leak=leak), "local_copies") if pair.seen_by == "parts"]
    assert [(pair.synthetic_row, pair.train_row, pair.copy) for pair in pieces] == [(PLACE, 5, True)]
    assert pieces[0].how.startswith("a piece")
    top, left, bottom, right = pieces[0].box
    assert 0 <= top < bottom <= 1
    assert 0 <= left < right <= 1


def test_nothing_flagged_shows_whole_images_only(make_world):
    shown = audited(make_world(42), "local_copies")
    assert {pair.seen_by for pair in shown} == {"whole"}
    assert not any(pair.copy for pair in shown)
