"""The encoders that ship: their files say by what they were made, and it is what makes them."""

from __future__ import annotations

from importlib.resources import files

import pytest

from synthrelease.features.uld.encoder import ROLES, Encoder, Role
from synthrelease.features.uld.public import PATIENTS, SEED, SIDE, make_public, public_encoder


@pytest.mark.parametrize("role", ROLES)
def test_the_shipped_file_is_what_the_fixed_recipe_makes_of_its_weights(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = []

    def fit(source: object, recipe: object, **_: object) -> object:
        recipes.append(recipe)
        return public_encoder(role).network

    monkeypatch.setattr("synthrelease.features.uld.public.phantom_source", lambda progress: None)
    monkeypatch.setattr("synthrelease.features.uld.public.fit", fit)
    monkeypatch.setattr("synthrelease.features.uld.local.fit_local", fit)
    made: Encoder = make_public(role)
    told = dict(made.provenance.recipe)
    assert told.pop("phantoms") == {"patients": PATIENTS, "seed": SEED, "side": SIDE}
    assert [recipe.to_json() for recipe in recipes] == [told]
    shipped = files("synthrelease.features.uld") / "weights" / f"{role}.safetensors"
    assert made.provenance == public_encoder(role).provenance
    assert made.to_bytes() == shipped.read_bytes()
