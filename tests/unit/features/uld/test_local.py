"""The local embedding: nothing outside a window counts, grey does not either, fitting helps and survives a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.features.patches import REACH, WINDOW
from synthrelease.features.uld import local
from synthrelease.features.uld.encoder import Encoder, Provenance
from synthrelease.features.uld.local import LocalNetwork, LocalRecipe, fit_local, pairs
from synthrelease.features.uld.public import public_encoder
from synthrelease.features.uld.sources import ArraySource

SMALL = LocalRecipe(side=None, steps=4, batch=6, places=4, widths=(24, 16), dimensions=8)


def textures(seed, count, side=48):
    """What all share and what is one's own: (N, 1, side, side)."""
    rng = np.random.default_rng(seed)

    def field(width, r, n):
        values = gaussian_filter(r.normal(size=(n, side, side)), (0, width, width), mode="nearest")
        return values / values.std()

    shared = field(3.0, np.random.default_rng(99), 1)
    return np.clip(0.3 * shared + 0.15 * field(1.4, rng, count), -1, 1)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return LocalNetwork((24, 16), 8).eval()


def test_a_pixel_is_described_by_its_window_and_nothing_else(network):
    images = torch.from_numpy(textures(0, 2))
    with torch.inference_mode():
        maps = network(images)
        windows = images[:, 0, 10 : 10 + WINDOW, 20 : 20 + WINDOW]
        np.testing.assert_allclose(network.describe(windows), maps[:, :, 10 + REACH, 20 + REACH], atol=1e-5)
        other = torch.rand_like(images) * 2 - 1
        other[..., 10 : 10 + WINDOW, 20 : 20 + WINDOW] = windows[:, None]
        np.testing.assert_allclose(
            network(other)[:, :, 10 + REACH, 20 + REACH], maps[:, :, 10 + REACH, 20 + REACH], atol=1e-4
        )
    assert maps.shape == (2, 8, 48, 48)
    np.testing.assert_allclose(maps.norm(dim=1), 1.0, atol=1e-5)


def test_gain_and_offset_cannot_be_seen(network):
    images = torch.from_numpy(textures(1, 3))
    with torch.inference_mode():
        np.testing.assert_allclose(network(0.6 * images + 0.2), network(images), atol=2e-3)


def test_what_others_do_changes_nothing(network):
    images = torch.from_numpy(textures(2, 4))
    with torch.inference_mode():
        np.testing.assert_allclose(network(images)[:1], network(images[:1]), atol=1e-5)


def test_pairs_show_the_same_content_of_the_same_image():
    images = torch.from_numpy(textures(3, 6))
    still = replace(SMALL, degrees=0.0, scale=0.0, blur=0.0, grey=local.views.GreyRange(0.0, 0.0, 0.0, 0.0))
    here, there, place = pairs(images, still, torch.Generator().manual_seed(0))
    assert here.shape == there.shape == (24, WINDOW, WINDOW)
    assert place.tolist() == [0, 1, 2, 3] * 6
    # Views still move by a part of a pixel.
    own = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(here.numpy(), there.numpy(), strict=True)]
    assert np.median(own) > 0.95
    shifted = np.roll(there.numpy(), 4, axis=0)
    assert (
        np.median([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(here.numpy(), shifted, strict=True)]) < 0.9
    )


def test_negatives_are_the_same_place_in_other_patients(monkeypatch):
    seen = []

    def heard(a, b, temperature, groups=None):
        seen.append(groups)
        return (a * b).sum()

    monkeypatch.setattr(local.losses, "patch_discrimination", heard)
    fit_local(ArraySource(textures(4, 12)), replace(SMALL, steps=1))
    assert seen[0].unique(return_counts=True)[1].tolist() == [6, 6, 6, 6]
    fit_local(ArraySource(textures(4, 12)), replace(SMALL, steps=1, negatives="all"))
    assert seen[1] is None


def test_a_patient_is_never_a_stranger_to_itself():
    taken = []

    class Watched(ArraySource):
        def take(self, rows):
            taken.append(self.patient[rows])
            return super().take(rows)

    fit_local(Watched(textures(4, 12), np.repeat(np.arange(6), 2)), SMALL)
    assert all(len(set(people)) == len(people) for people in taken[-SMALL.steps :])


def test_flat_windows_teach_nothing():
    flat = np.zeros((6, 1, 48, 48), np.float32)
    before = LocalRecipe(side=None, steps=1, batch=6, places=4, grey=local.views.GreyRange(0.0, 0.0, 0.0, 0.0))
    assert len(pairs(torch.from_numpy(flat), before, torch.Generator().manual_seed(0))[0]) == 0
    fit_local(ArraySource(flat), before)


@pytest.mark.parametrize("stop", [3, 5])
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path, monkeypatch, stop):
    images = textures(5, 10)

    class Killed(ArraySource):
        left = 10**6

        def take(self, rows):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().take(rows)

    whole = fit_local(ArraySource(images), SMALL)
    monkeypatch.setattr(local, "KEEP_EVERY_S", 0.0)
    state, killed = tmp_path / "state.safetensors", Killed(images)
    killed.left = stop
    with pytest.raises(KeyboardInterrupt):
        fit_local(killed, SMALL, state=state)
    resumed = fit_local(ArraySource(images), SMALL, state=state)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(IntegrityError, match="another"):
        fit_local(ArraySource(images), replace(SMALL, seed=1), state=state)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(IntegrityError, match="damaged"):
        fit_local(ArraySource(images), SMALL, state=state)


def test_too_little_is_refused():
    with pytest.raises(UnsuitableData, match="one patient"):
        fit_local(ArraySource(textures(6, 3), np.zeros(3)), SMALL)
    with pytest.raises(UnsuitableData, match="too small"):
        fit_local(ArraySource(textures(6, 3, 32)), SMALL)
    with pytest.raises(ValueError, match="two images"):
        LocalRecipe(batch=1)
    with pytest.raises(ValueError, match="side"):
        LocalRecipe(side=16)


def test_the_file_gives_the_same_network_back(tmp_path, network):
    Encoder("copies", network, Provenance("public", "a test")).save(tmp_path / "e.safetensors")
    read = Encoder.load(tmp_path / "e.safetensors")
    images = textures(7, 2)
    np.testing.assert_allclose(read.embed(images), network(torch.from_numpy(images)).detach(), atol=1e-6)


def naming(network, gallery, probes):
    """Share of probes whose likest window at their middle, searched over shifts of one pixel, is their own."""
    middle, reach = gallery.shape[-1] // 2, REACH + 1
    seen = slice(middle - reach, middle + reach + 1)
    with torch.inference_mode():
        inner = (torch.from_numpy(np.ascontiguousarray(images[:, :, seen, seen])) for images in (gallery, probes))
        real, mine = (network(images)[:, :, REACH:-REACH, REACH:-REACH] for images in inner)
        mine = mine[:, :, 1, 1]
    like = torch.einsum("md,ndyx->mnyx", mine, real).amax(dim=(2, 3))
    return float((like.argmax(dim=1) == torch.arange(len(probes))).float().mean())


def altered(images, seed):
    """Blurred, noisy, of less contrast."""
    rng = np.random.default_rng(seed)
    changed = 0.8 * gaussian_filter(images, (0, 0, 0.7, 0.7)) + 0.05
    return (changed + 0.12 * rng.normal(size=images.shape)).astype(np.float32)


def test_the_shipped_network_names_altered_copies_and_an_untrained_one_does_not():
    real = textures(8, 150)
    shipped = public_encoder("copies").network
    torch.manual_seed(1)
    untrained = LocalNetwork().eval()
    assert naming(shipped, real, real) == naming(untrained, real, real) == 1.0
    trained, blank = (naming(n, real, altered(real, 0)) for n in (shipped, untrained))
    assert trained > blank + 0.2
