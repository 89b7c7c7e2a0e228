"""Pasted pieces must be found wherever they land, with what was done to them; strangers must not agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.features import piece_search
from synthrelease.features.patches import COARSE, FINE, Whitening
from synthrelease.features.piece_search import (
    EVIDENCE_CEILING,
    EVIDENCE_SCALE,
    MOST_FLOOR,
    USUAL,
    Agreement,
    Pairs,
    Pieces,
    Sight,
    evidence,
    like_points,
    likeness,
    usual_evidence,
)

SIDE = 64


def textures(seed: int, count: int, side: int = SIDE):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(count, side, side)), (0, 1.4, 1.4), mode="nearest")
    broad = gaussian_filter(rng.normal(size=(count, side, side)), (0, 8, 8), mode="nearest")
    return np.clip(0.5 * field / field.std() * 0.3 + broad / broad.std() * 0.3, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def gallery():
    real = textures(0, 40)
    whitening = Whitening.fit(real, COARSE)
    return real, whitening, Pieces.of(real, COARSE, whitening)


def searched(probes, whitening, pieces, level=COARSE):
    pairs = like_points(Pieces.of(probes, level, whitening), pieces, usual_evidence(pieces, torch.arange(40)))
    agreement = Agreement.of(pairs, pieces)
    column = torch.arange(pieces.count)
    return pairs, agreement, likeness(pairs, agreement, len(probes), column, pieces.count)


def pasted(piece, top, left, side=SIDE):
    host = textures(1, 1, side)
    host[0, top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return host


CHANGES = {
    "plain": lambda x: x,
    "gain": lambda x: 0.7 * x + 0.1,
    "mirrored": lambda x: x[:, ::-1],
    "mirrored with gain": lambda x: 0.8 * x[:, ::-1] - 0.1,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("corner", [(24, 24), (3, 41)], ids=["in place", "elsewhere"])
def test_a_pasted_square_of_16_px_is_found_wherever_it_lies(gallery, change, corner):
    real, whitening, pieces = gallery
    _, _, seen = searched(pasted(change(real[7, 24:40, 24:40]), *corner), whitening, pieces)
    assert (seen[:, 0].argmax(axis=1) == 7).all()
    assert np.arctanh(seen[0, 0, 7]) > 0.7
    assert np.arctanh(np.delete(seen[0, 0], 7).max()) < 0.2
    assert np.arctanh(seen[1, 0, 7]) > 0.7
    assert np.arctanh(np.delete(seen[1, 0], 7).max()) < 0.2
    # Together with others a pair counts for a little less than alone.
    assert (np.arctanh(seen[1]) >= np.arctanh(seen[0]) - COARSE.agreed / EVIDENCE_SCALE - 1e-6).all()


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_square_of_16_of_128_px_is_found_at_the_fine_level_only(change):
    real = textures(10, 20, 128)
    probe = pasted(change(real[7, 55:71, 55:71]), 40, 61, 128)
    fine = Whitening.fit(real, FINE)
    _, _, seen = searched(probe, fine, Pieces.of(real, FINE, fine), FINE)
    assert np.arctanh(seen[1, 0, 7]) > 0.7 > 0.3 > np.arctanh(np.delete(seen[1, 0], 7).max())
    halved, probe = (x.reshape(-1, 64, 2, 64, 2).mean((2, 4)) for x in (real, probe))
    coarse = Whitening.fit(halved, COARSE)
    _, _, seen = searched(probe, coarse, Pieces.of(halved, COARSE, coarse))
    assert np.arctanh(seen[0, 0, 7]) < 0.3


def test_agreement_names_displacement_mirroring_and_place(gallery):
    real, whitening, pieces = gallery
    moved, mirrored = (pasted(c(real[5, 16:46, 10:40]), 20, 30) for c in (CHANGES["plain"], CHANGES["mirrored"]))
    plain, turned = (Sight.best(*searched(probe, whitening, pieces)[:2]) for probe in (moved, mirrored))
    assert plain.image == turned.image == 5
    assert (plain.mirrored, turned.mirrored) == (False, True)
    assert plain.evidence > 20
    assert plain.cosine > 0.999
    assert plain.shift == (4, 20)
    # Columns 10..39 lie at 24..53 of the mirrored image and went to 30.
    assert turned.shift == (4, 6)
    top, left, bottom, right = plain.box
    # A window at the rim may reach over it by a few pixels and still agree.
    assert 16 <= top < 24 < 46 < bottom <= 54
    assert 26 <= left < 34 < 56 < right <= 64


def test_nothing_agrees_with_an_image_without_points(gallery):
    _, whitening, pieces = gallery
    pairs, agreement, seen = searched(np.zeros((2, SIDE, SIDE), np.float32), whitening, pieces)
    assert len(pairs.cosine) == len(agreement.total) == 0
    assert seen.shape == (2, 2, 40)
    assert seen.max() == 0
    assert Sight.best(pairs, agreement) is None


def test_every_pair_that_counts_is_kept_and_no_block_shows(gallery, monkeypatch):
    _, whitening, pieces = gallery
    probes = Pieces.of(textures(4, 5), COARSE, whitening)
    floor = usual_evidence(pieces, torch.arange(40))
    whole = like_points(probes, pieces, floor)
    products = probes.descriptors.float() @ pieces.descriptors.float().T
    mine, theirs = (np.repeat(np.arange(COARSE.cells), np.diff(each.starts)) for each in (probes, pieces))
    kept = (evidence(products).numpy() > floor) & (products.numpy() > 0) & (mine[:, None] == theirs)
    assert len(whole.cosine) == kept.sum() > 10
    np.testing.assert_allclose(np.sort(whole.cosine), np.sort(products[kept]), atol=1e-5)
    monkeypatch.setattr(piece_search, "PROBES_AT_ONCE", 7)
    monkeypatch.setattr(piece_search, "POINTS_AT_ONCE", 11)
    parts = like_points(probes, pieces, floor)
    np.testing.assert_allclose(np.sort(parts.cosine), np.sort(whole.cosine), atol=1e-5)


def test_strangers_have_some_pairs_that_count_but_few(gallery, monkeypatch):
    _, whitening, pieces = gallery
    floor = usual_evidence(pieces, torch.arange(40))
    assert 0.1 < floor <= MOST_FLOOR
    probes = Pieces.of(textures(4, 20), COARSE, whitening)
    compared = int(np.dot(np.diff(probes.starts), np.diff(pieces.starts)))
    found = like_points(probes, pieces, floor)
    assert 0.2 * USUAL < len(found.cosine) / compared < 5 * USUAL
    assert len(found.probe.unique()) == 20
    # Where everybody is alike the floor does not climb so high that a copy counted for little.
    alike = Pieces.of(np.repeat(textures(9, 1), 10, axis=0), COARSE, whitening)
    assert usual_evidence(alike, torch.arange(10)) == MOST_FLOOR
    # A patient's own images say nothing of strangers.
    assert usual_evidence(alike, torch.zeros(10)) == 0.0


def test_images_of_a_patient_share_a_column(gallery):
    _, whitening, pieces = gallery
    pairs, agreement, single = searched(textures(4, 5), whitening, pieces)
    both = likeness(pairs, agreement, 5, torch.arange(40) // 2, 20)
    np.testing.assert_allclose(both, single.reshape(2, 5, 20, 2).max(axis=3), atol=1e-6)


def test_agreement_adds_up_what_moved_alike_and_nothing_else(gallery):
    real, whitening, pieces = gallery
    probes = np.concatenate([textures(4, 5), pasted(real[7, 24:40, 24:40], 3, 41)])
    pairs, agreement, _ = searched(probes, whitening, pieces)
    counted = (pairs.evidence - COARSE.agreed).clamp(min=0.0)
    assert float(counted.sum()) > 0
    assert float(agreement.total.sum()) == pytest.approx(float(counted.sum()), rel=1e-4)
    keys = zip(
        pairs.probe.tolist(),
        pairs.image.tolist(),
        pairs.mirrored.tolist(),
        map(tuple, pairs.shift.tolist()),
        strict=True,
    )
    assert len(agreement.total) == len(set(keys))


@pytest.mark.parametrize("level", [COARSE, FINE], ids=["coarse", "fine"])
def test_many_points_that_are_a_little_alike_say_nothing_together_and_a_few_of_a_copy_do(level):
    gallery = Pieces(*(torch.zeros(0),) * 4, (0,), 2, SIDE, level)
    # Along one edge with the first image; of a piece of the second.
    weak, strong = [0.9] * 40, [EVIDENCE_CEILING - MOST_FLOOR] * 3
    some = len(weak) + len(strong)
    nowhere = torch.zeros(some, 2, dtype=torch.int64)
    whose = torch.tensor([0] * len(weak) + [1] * len(strong))
    pairs = Pairs(
        torch.zeros(some, dtype=torch.int64),
        whose,
        torch.ones(some),
        torch.tensor(weak + strong),
        nowhere,
        nowhere,
        torch.zeros(some, dtype=torch.bool),
    )
    agreement = Agreement.of(pairs, gallery)
    assert agreement.image.tolist() == [0, 1]
    assert float(agreement.total[0]) == 0
    assert float(agreement.total[1]) > 0.8 * sum(strong)


def test_evidence_runs_from_nothing_to_identity():
    assert float(evidence(torch.tensor(-0.5))) == 0.0
    assert float(evidence(torch.tensor(1.0))) == pytest.approx(EVIDENCE_CEILING, abs=1e-3)
    assert float(evidence(torch.tensor(0.99))) == pytest.approx(-math.log(1 - 0.99**2), abs=1e-3)


@pytest.mark.parametrize("side", [28, 32, 64])
def test_every_resolution_is_searched(side):
    images = textures(5, 6, side)
    whitening = Whitening.fit(images, COARSE)
    _, _, seen = searched(images, whitening, Pieces.of(images, COARSE, whitening))
    assert (seen[1].argmax(axis=1) == np.arange(6)).all()
    assert np.arctanh(np.diag(seen[1]).clip(max=0.999)).min() > 2
