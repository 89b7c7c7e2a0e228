"""What one step minimises: views of a batch of images, their features in one frame, and the losses of both stages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthrelease.features.uld import losses, views
from synthrelease.features.uld.averaging import pool, to_grid
from synthrelease.features.uld.networks import EmbeddingNetwork
from synthrelease.features.uld.recipe import Recipe

MIXED = (0.2, 0.8)
"""Share of the first image of a mixed pair."""


@dataclass(frozen=True)
class Objective:
    """Value of a step.

    Attributes:
        total: Scalar with gradient.
        areas: (K,) mean share of the pixels of each cluster, without gradient; empty in stage 1.
    """

    total: Tensor
    areas: Tensor


def objective(
    network: EmbeddingNetwork, images: Tensor, recipe: Recipe, generator: torch.Generator, *, regions: bool
) -> Objective:
    """Loss of a batch.

    Args:
        images: (n, 1, H, W) in [-1, 1]. generator: Draws the views. regions: Whether stage 2 is on.
    """
    of_mode = _within if recipe.mode == "within" else _paper
    return of_mode(network, images, recipe, generator, regions)


def _within(
    network: EmbeddingNetwork, images: Tensor, recipe: Recipe, generator: torch.Generator, regions: bool
) -> Objective:
    """Two views of an image, the second turned, moved and enlarged against the first, in the frame of the first."""
    count, aspect = len(images), images.shape[-1] / images.shape[-2]
    # The first view is posed too: beside an untouched image, "where in the frame" would be as good an answer as
    # "where in the body", and it is no answer in another patient.
    pose = views.draw_affine(count, views.scaled(recipe.affine, recipe.pose), generator, aspect)
    relative = views.draw_affine(count, recipe.affine, generator, aspect)
    first = views.grey_change(views.warp(images, pose), recipe.grey, generator)
    second = views.grey_change(views.warp(images, views.after(pose, relative)), recipe.grey, generator)
    embedding, shares = _look(network, torch.cat([first, second]), regions)
    back, seen = views.unwarp(embedding[count:], relative)
    both = seen & ~views.filled(pose, *images.shape[-2:])
    # A cell of which less than half is image, shown by both, has no partner.
    kept = pool(both.float(), recipe.cells, centre_sensitive=False).flatten() > 0.5
    a, b = (
        to_grid(x * both, recipe.cells, centre_sensitive=recipe.centre_sensitive).flatten(0, 2)[kept]
        for x in (embedding[:count], back)
    )
    image = torch.arange(count).repeat_interleave(recipe.cells**2)[kept]
    patches = losses.patch_discrimination(a, b, recipe.temperature, image)
    return _with_regions(patches, embedding, shares, recipe)


def _paper(
    network: EmbeddingNetwork, images: Tensor, recipe: Recipe, generator: torch.Generator, regions: bool
) -> Objective:
    """Pairs of images: two views of each in one geometry, the second turned by quarters, and a mixture of each pair."""
    count = len(images)
    posed, fill = views.shared_geometry(images, generator, mirror=recipe.mirror)
    first, second = (views.grey_change(views.slight_turn(posed, generator), recipe.grey, generator) for _ in range(2))
    square = images.shape[-2] == images.shape[-1]
    turns = [views.draw_quarter_turn(generator, square=square) for _ in range(count)]
    turned = torch.cat([t.apply(x[None]) for t, x in zip(turns, second, strict=True)])
    low, high = MIXED
    share = (low + (high - low) * torch.rand(count // 2, generator=generator)).view(-1, 1, 1, 1)
    mixed = share * first[: count // 2] + (1.0 - share) * first[count // 2 :]
    # One pass for all, as published: batch normalisation sees clean and mixed images together.
    embedding, shares = _look(network, torch.cat([first, turned, mixed]), regions)
    back = torch.cat([t.undo(x[None]) for t, x in zip(turns, embedding[count : 2 * count], strict=True)])
    a, b, m = (
        to_grid(x, recipe.cells, centre_sensitive=recipe.centre_sensitive)
        for x in (embedding[:count], back, embedding[2 * count :])
    )
    # Cells that are mostly repeated border look alike and would be false negatives of each other.
    kept = pool(fill.float(), recipe.cells, centre_sensitive=False)[:, 0] <= 0.5
    patches = losses.patch_discrimination(a[kept], b[kept], recipe.temperature)
    target = losses.mixup_target(a[: count // 2], a[count // 2 :], share)
    both = kept[: count // 2] & kept[count // 2 :]
    patches = patches + losses.patch_discrimination(m[both], target[both], recipe.temperature)
    return _with_regions(patches, embedding[: 2 * count], shares[: 2 * count], recipe)


def _look(network: EmbeddingNetwork, images: Tensor, regions: bool) -> tuple[Tensor, Tensor]:
    return network.assign(images) if regions else (network(images), images.new_empty(0))


def _with_regions(patches: Tensor, embedding: Tensor, shares: Tensor, recipe: Recipe) -> Objective:
    """Total = patches + 10 L_ld + 0.1 L_ent, and the area term when it is asked for."""
    if not shares.numel():
        return Objective(patches, shares)
    total = (
        patches
        + recipe.region_weight * losses.region_discrimination(embedding, shares, recipe.region_temperature)
        + recipe.entropy_weight * losses.assignment_entropy(shares)
        + recipe.area_weight * losses.area(shares)
    )
    return Objective(total, losses.areas(shares.detach()))
