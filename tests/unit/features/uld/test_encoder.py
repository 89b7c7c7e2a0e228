"""Encoder files: what goes in comes out, whom the weights have seen is stated, and nothing odd is read."""

from __future__ import annotations

import json
import os
import pickle
import stat
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.errors import UnsuitableData
from synthrelease.features.uld.averaging import sliding
from synthrelease.features.uld.encoder import LARGEST_FILE, Encoder, Provenance
from synthrelease.features.uld.networks import EmbeddingNetwork
from synthrelease.features.uld.public import public_encoder
from synthrelease.features.uld.views import affine, warp

DIGEST = "ab" * 32
PUBLIC = Provenance("public", "made by hand", recipe={"side": 16})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 1, 16, 16)).astype(np.float32)


def encoder(seed=0, **settings):
    torch.manual_seed(seed)
    return Encoder("landmarks", EmbeddingNetwork((4, 8), **settings), PUBLIC)


@pytest.mark.parametrize(
    "settings", [{}, {"clusters": 3}, {"norm": "batch"}, {"convolutions": (1, 3), "dimensions": 8}]
)
def test_what_is_saved_is_what_is_loaded(settings, images, tmp_path):
    written = encoder(**settings)
    written.save(tmp_path / "encoder.safetensors")
    read = Encoder.load(tmp_path / "encoder.safetensors")
    assert (read.role, read.provenance, read.digest, read.side) == ("landmarks", PUBLIC, written.digest, 16)
    assert np.array_equal(read.embed(images), written.embed(images))
    assert read.network.settings == written.network.settings
    assert not any(p.requires_grad for p in read.network.parameters())
    assert read.to_bytes() == (tmp_path / "encoder.safetensors").read_bytes()


def test_the_digest_follows_weights_and_provenance():
    one = encoder()
    assert one.digest == encoder().digest != encoder(seed=1).digest
    other = Encoder("landmarks", one.network, Provenance("private", "a cohort", (DIGEST,)))
    assert other.digest != one.digest


def test_rounded_weights_halve_the_file_and_hardly_move_the_vectors(images, tmp_path):
    whole = encoder()
    rounded = whole.rounded()
    assert len(rounded.to_bytes()) < 0.75 * len(whole.to_bytes())
    rounded.save(tmp_path / "rounded.safetensors")
    assert np.array_equal(Encoder.load(tmp_path / "rounded.safetensors").embed(images), rounded.embed(images))
    assert np.abs(rounded.embed(images) - whole.embed(images)).max() < 0.02


def test_vectors_do_not_depend_on_who_else_is_in_the_batch(images):
    found = encoder().embed(np.concatenate([images] * 5))
    assert found.shape == (25, 32, 16, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(encoder().embed(images[2:3])[0], found[2], atol=1e-5)
    with pytest.raises(ValueError, match="no images"):
        encoder().embed(images[:0])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "secret"}, "kind"),
        ({"kind": "private"}, "digest"),
        ({"kind": "public", "cohort_digests": (DIGEST,)}, "digest"),
        ({"kind": "private", "cohort_digests": ("PAT00001",)}, "hexadecimal"),
        ({"kind": "dp", "cohort_digests": (DIGEST,)}, "epsilon"),
        ({"kind": "public", "epsilon": 1.0, "delta": 1e-6}, "epsilon"),
        ({"kind": "dp", "cohort_digests": (DIGEST,), "epsilon": 0.0, "delta": 1e-6}, "epsilon"),
        ({"kind": "dp", "cohort_digests": (DIGEST,), "epsilon": float("inf"), "delta": 1e-6}, "epsilon"),
        ({"kind": "dp", "cohort_digests": (DIGEST,), "epsilon": 1.0, "delta": 1.0}, "delta"),
    ],
)
def test_a_provenance_that_contradicts_itself_cannot_be_made(fields, why):
    with pytest.raises(ValueError, match=why):
        Provenance(**{"source": "x", **fields})


def test_a_private_encoder_names_cohorts_by_digest_and_says_so_after_reading(tmp_path):
    private = Provenance("private", "chests of the house", (DIGEST,), recipe={"steps": 3})
    Encoder("landmarks", EmbeddingNetwork((4, 8)), private).save(tmp_path / "e.safetensors")
    assert Encoder.load(tmp_path / "e.safetensors").provenance == private
    budgeted = Provenance("dp", "chests", (DIGEST,), epsilon=8.0, delta=1e-6)
    assert Provenance.from_json(json.loads(json.dumps(budgeted.to_json()))) == budgeted


@pytest.mark.parametrize(("kind", "mode"), [("public", 0o666), ("private", 0o600), ("dp", 0o600)])
def test_weights_that_have_seen_patients_are_never_readable_by_others_not_even_before_they_have_their_name(
    kind, mode, tmp_path, monkeypatch
):
    known = {} if kind == "public" else {"cohort_digests": (DIGEST,)}
    budget = {"epsilon": 8.0, "delta": 1e-6} if kind == "dp" else {}
    seen = []

    def refuse(partial, path):
        seen.append(stat.S_IMODE(os.stat(partial).st_mode))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    before = os.umask(0)
    try:
        with pytest.raises(UnsuitableData, match="No space"):
            Encoder("landmarks", EmbeddingNetwork((4, 8)), Provenance(kind, "x", **known, **budget)).save(
                tmp_path / "e.safetensors"
            )
    finally:
        os.umask(before)
    assert seen == [mode]
    assert list(tmp_path.iterdir()) == []


def record_of(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["record"])


def with_record(change):
    content = encoder().to_bytes()
    record = record_of(content)
    change(record)
    return save(load(content), metadata={"record": json.dumps(record)})


def with_weights(change):
    content = encoder().to_bytes()
    weights = load(content)
    change(weights)
    return save(weights, metadata={"record": json.dumps(record_of(content))})


def put(name, value):
    return lambda record: record.__setitem__(name, value)


def put_deep(part, name, value):
    return lambda record: record[part].__setitem__(name, value)


ODD = {
    "empty": lambda: b"",
    "no safetensors": lambda: b"weights" * 50,
    "a pickle": lambda: pickle.dumps({"weights": [1.0]}),
    "cut": lambda: encoder().to_bytes()[:-7],
    "cut in the header": lambda: encoder().to_bytes()[:60],
    "longer": lambda: encoder().to_bytes() + b"more",
    "a header longer than the file": lambda: struct.pack("<Q", 2**62) + encoder().to_bytes()[8:],
    "no metadata": lambda: save(load(encoder().to_bytes())),
    "other metadata": lambda: save(load(encoder().to_bytes()), metadata={"record": "[1, 2]"}),
    "deeply nested metadata": lambda: save({"a": torch.zeros(1)}, metadata={"record": "[" * 30_000}),
    "another schema": lambda: with_record(put("schema", "synthrelease.uld-encoder/9")),
    "another role": lambda: with_record(put("role", "faces")),
    "the other role": lambda: with_record(put("role", "copies")),
    "no provenance": lambda: with_record(lambda r: r.pop("provenance")),
    "unsound provenance": lambda: with_record(put_deep("provenance", "kind", "private")),
    "unknown field": lambda: with_record(put_deep("provenance", "patients", ["PAT00001"])),
    "images of no size": lambda: with_record(put_deep("provenance", "recipe", {"side": -64})),
    "images of many gigabytes": lambda: with_record(put_deep("provenance", "recipe", {"side": 10**6})),
    "a shape that is no object": lambda: with_record(put("network", [4, 8])),
    "an unknown setting": lambda: with_record(put_deep("network", "code", "import os")),
    "another shape": lambda: with_record(put_deep("network", "widths", [4, 9])),
    "a shape of many gigabytes": lambda: with_record(put_deep("network", "widths", [10**6, 10**6])),
    "a shape of text": lambda: with_record(put_deep("network", "widths", "ab")),
    "a weight missing": lambda: with_weights(lambda w: w.pop("head.0.weight")),
    "a weight more": lambda: with_weights(put("extra", torch.zeros(1))),
    "a weight of another shape": lambda: with_weights(put("head.0.weight", torch.zeros(1))),
    "weights that are no numbers": lambda: with_weights(lambda w: w["head.0.weight"].fill_(torch.nan)),
    "infinite weights": lambda: with_weights(lambda w: w["head.0.weight"].fill_(torch.inf)),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_files_are_refused_with_what_where_and_a_way_out(odd, tmp_path):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(ODD[odd]())
    with pytest.raises(UnsuitableData, match=r"encoder\.safetensors") as caught:
        Encoder.load(path)
    assert caught.value.fix
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path):
    with pytest.raises(UnsuitableData, match="no encoder"):
        Encoder.load(tmp_path / "none.safetensors")
    with pytest.raises(UnsuitableData, match="cannot be read"):
        Encoder.load(tmp_path)
    huge = tmp_path / "huge.safetensors"
    with huge.open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    with pytest.raises(UnsuitableData, match="64 MB"):
        Encoder.load(huge)


def test_the_shipped_landmark_encoder_is_public_small_and_made_of_unit_vectors(images):
    shipped = public_encoder("landmarks")
    assert shipped.provenance.kind == "public"
    assert shipped.side == 64
    assert len(shipped.to_bytes()) < 500_000
    np.testing.assert_allclose(np.linalg.norm(shipped.embed(images), axis=1), 1.0, atol=1e-5)


def test_the_shipped_landmark_encoder_finds_points_in_turned_strangers_better_than_their_usual_place():
    names = ("carina", "heart_center", "right_apex", "left_apex", "right_dome")
    patients = [simulate_patient(91, index, 64).images[0] for index in range(17)]
    images = torch.from_numpy(np.stack([p.pixels for p in patients])[:, None] * np.float32(2) - np.float32(1))
    points = torch.tensor([[p.landmarks[name] for name in names] for p in patients])
    shown, shown_at, asked, asked_at = images[:5], points[:5], images[5:], points[5:]
    # The strangers are turned by up to 30 degrees about the middle of the image.
    turn = torch.linspace(-np.pi / 6, np.pi / 6, len(asked))
    asked = warp(asked, affine(turn, torch.ones(len(asked)), torch.zeros(len(asked), 2)))
    centred = asked_at - 31.5
    cos, sin = turn.cos()[:, None], turn.sin()[:, None]
    rows = cos * centred[..., 0] - sin * centred[..., 1]
    columns = sin * centred[..., 0] + cos * centred[..., 1]
    truth = torch.stack([rows, columns], dim=-1) + 31.5

    embed = public_encoder("landmarks").embed
    known, maps = (sliding(torch.from_numpy(embed(x.numpy())), 9) for x in (shown, asked))
    at = shown_at.round().long()
    vectors = torch.stack([known[i, :, at[i, :, 0], at[i, :, 1]] for i in range(len(shown))]).mean(dim=0)
    best = torch.einsum("dl,ndx->nlx", vectors, maps.flatten(2)).argmax(dim=2)
    error = (torch.stack([best // 64, best % 64], dim=-1) - truth).norm(dim=-1)
    usual = (shown_at.mean(dim=0) - truth).norm(dim=-1)
    assert (error <= 4).float().mean() >= 0.75
    assert error.median() < 0.6 * usual.median()
