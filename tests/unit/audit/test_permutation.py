"""Label permutation: uniform without copying, small with it, and antisymmetric in the two sides."""

from __future__ import annotations

import numpy as np
from scipy import stats

from synthrelease.audit.permutation import _leads, excess_share, permutation_p, tail_statistics
from synthrelease.audit.search import Matches
from synthrelease.features.descriptors import fisher_z

PATIENTS, IMAGES, KEPT = 120, 80, 16


def matches(rng, copied=0, of=None):
    """Similarities of images to patients, some patients nearer to everything; ``copied`` images copy patients ``of``."""
    table = 0.5 + 0.1 * rng.normal(size=(IMAGES, PATIENTS)) + 0.05 * rng.normal(size=PATIENTS)
    for image in range(copied):
        table[image, of[image]] = 0.999
    table = np.clip(table, 0, 1).astype(np.float32)
    who = np.argsort(-table, axis=1)[:, :KEPT]
    near = np.take_along_axis(table, who, axis=1)
    return Matches(near, who, near[:, :1], near[:, 0], table.max(axis=0))


def sides(rng):
    return rng.permutation(PATIENTS) < PATIENTS // 2


def test_p_values_are_uniform_when_nothing_was_copied():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p.append(permutation_p(matches(rng), sides(rng), 99, rng))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) <= 0.1


def test_ten_copies_of_training_patients_are_seen_and_of_holdout_patients_are_not():
    rng = np.random.default_rng(0)
    is_train = sides(rng)
    trained, held = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    assert permutation_p(matches(rng, 10, trained), is_train, 499, rng) <= 0.01
    assert permutation_p(matches(rng, 10, held), is_train, 499, rng) >= 0.9


def test_swapping_train_and_holdout_flips_the_sign_of_every_statistic():
    rng = np.random.default_rng(1)
    m, is_train = matches(rng), sides(rng)
    order = np.argsort(-m.near[:, 0])
    near, who = fisher_z(m.near[order]), m.who[order]
    forward = tail_statistics(near, who, is_train[None])
    backward = tail_statistics(near, who, ~is_train[None])
    np.testing.assert_allclose(forward, -backward, atol=1e-9)


def test_order_of_synthetic_images_does_not_matter():
    rng = np.random.default_rng(2)
    m, is_train = matches(rng), sides(rng)
    shuffle = rng.permutation(IMAGES)
    turned = Matches(m.near[shuffle], m.who[shuffle], m.blocks[shuffle], m.decoy[shuffle], m.best_probe)
    first = permutation_p(m, is_train, 199, np.random.default_rng(5))
    assert permutation_p(turned, is_train, 199, np.random.default_rng(5)) == first


def test_several_scores_are_one_exact_test():
    p = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        first = matches(rng)
        p.append(permutation_p({"a": first, "b": matches(rng), "c": first}, sides(rng), 99, rng))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_copies_that_one_of_three_scores_sees_are_seen():
    rng = np.random.default_rng(4)
    is_train = sides(rng)
    seeing = matches(rng, 10, np.flatnonzero(is_train))
    assert permutation_p({"a": matches(rng), "b": seeing, "c": matches(rng)}, is_train, 499, rng) <= 0.01


def test_leads_by_table_are_leads_by_looking():
    rng = np.random.default_rng(6)
    m, is_train = matches(rng), sides(rng)
    is_train[m.who[0]] = True
    near = fisher_z(m.near)
    lead, first = _leads(near, m.who, is_train[None])
    for image in range(IMAGES):
        trained, held = near[image][is_train[m.who[image]]], near[image][~is_train[m.who[image]]]
        best = [side[0] if len(side) else near[image, -1] for side in (trained, held)]
        assert lead[0, image] == best[0] - best[1]
        assert first[0, image] == is_train[m.who[image, 0]]


def test_excess_counts_the_copies():
    rng = np.random.default_rng(3)
    is_train = sides(rng)
    m = matches(rng, 20, np.flatnonzero(is_train))
    assert 0.2 <= excess_share(m, is_train, 999, rng, alpha=0.005) <= 0.35
    unlike = {"a": matches(rng), "b": m, "c": matches(rng)}
    assert 0.2 <= excess_share(unlike, is_train, 999, rng, alpha=0.005) <= 0.35


def test_images_that_resemble_few_patients_are_not_counted_as_copies():
    """Fifteen images look like one patient, fifteen like another: whoever was trained on leads, and chance decides who was."""
    counted, kept = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        m, is_train = matches(rng, 30, np.repeat([5, 9], 15)), sides(rng)
        counted.append(excess_share(m, is_train, 1, rng, alpha=1.0))
        kept.append(excess_share(m, is_train, 199, rng, alpha=0.005))
    assert np.mean(np.array(counted) > 0.15) >= 0.15
    assert not any(kept)
