"""How the game stands, measured on generated pictures alone: no figure here is read from a real one."""

from __future__ import annotations

import torch

from synthrelease.generators.drai import losses, reversal
from synthrelease.generators.drai.networks import Encoder, Painter
from synthrelease.generators.protocol import Inputs


def diagnose(
    painter: Painter, encoder: Encoder, predictors: reversal.Predictors, one: Inputs, other: Inputs
) -> dict[str, float]:
    """Which codes are used, at which scale, and what is told of one from the other.

    Args:
        painter: The generator's network. encoder: Reads codes again. predictors: Of the reversal.
        one: What pictures begin with: labels (N,), wrong (N,) other classes, style (N, style), noise (N, content).
        other: The same for as many others.

    Returns:
        style_usage, content_usage, class_usage: Mean absolute difference of two pictures that differ in the style alone, in
            the content within its class, in the class; 0 is a code that is ignored.
        style_scale, content_scale: Root mean square of the codes read again.
        conditioning_sigma: Mean deviation of p(c | t). conditioning_distance: Mean distance between the means of two
            classes, in such deviations: contents of no width are a table of classes, of much width they drown them.
        predictor_content, predictor_style: The predictors' errors, 1 at chance. At chance is also what a dead code gives, or
            predictors that lag behind.
    """
    with torch.no_grad():
        law, another = painter.contents(one["labels"]), painter.contents(one["wrong"])
        content = law.at(one["noise"])
        shown = painter(one["style"], content)
        codes = encoder.codes(encoder(shown))
        errors = reversal.errors(predictors, codes.style.mean, codes.content.mean).mean(dim=0)
        sigma = (0.5 * law.log_variance).exp().mean()
        figures = {
            "style_usage": losses.difference(shown, painter(other["style"], content)).mean(),
            "content_usage": losses.difference(shown, painter(one["style"], law.at(other["noise"]))).mean(),
            "class_usage": losses.difference(shown, painter(one["style"], another.at(one["noise"]))).mean(),
            "style_scale": codes.style.mean.square().mean().sqrt(),
            "content_scale": codes.content.mean.square().mean().sqrt(),
            "conditioning_sigma": sigma,
            "conditioning_distance": (law.mean - another.mean).norm(dim=1).mean() / sigma,
            "predictor_content": errors[0],
            "predictor_style": errors[1],
        }
    return {name: float(value) for name, value in figures.items()}
