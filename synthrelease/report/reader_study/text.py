"""The result of a reader study for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def result_text(result: Mapping[str, Any]) -> str:
    """A table of readers, then what they have in common, then the verdict."""
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    repeats = f", {result['repeats']} of them twice" if result["repeats"] else ""
    yield f"reader study {result['study']}: {result['cases']} images{repeats}"
    width = max(6, *(len(row["reader"]) for row in result["readers"]))
    yield (
        f"  {'reader':<{width}}  right    share  exact 95 %       Wilson 95 %      "
        "sensitivity            specificity            verdict"
    )
    for row in result["readers"]:
        share = row["accuracy"]
        yield (
            f"  {row['reader']:<{width}}  {share['hits']:3d}/{share['trials']:<3d}  {share['value']:.3f}  {_ends(share['exact'])}  "
            f"{_ends(share['wilson'])}  {_share(row['sensitivity'])}  {_share(row['specificity'])}  {row['verdict']}"
        )
        yield f"  {'':<{width}}  {row['reason']}"
        if row["area_under_curve"]:
            area = row["area_under_curve"]
            yield f"  {'':<{width}}  with confidence: area under the curve {area['value']:.3f} ({_ends(area['interval'])})"
        if row["repeated"]:
            again = row["repeated"]
            yield (
                f"  {'':<{width}}  images shown twice: same answer {again['same']['hits']}/{again['images']}, "
                f"kappa {_kappa(again['kappa'])}"
            )
    if together := result["together"]:
        mean = together["accuracy"]
        yield (
            f"  together: mean share right {mean['value']:.3f}, {_ends(mean['interval'])} at {mean['confidence'] * 100:.0f} % "
            f"for readers and images like these; Fleiss kappa {_kappa(together['fleiss_kappa'])}"
        )
        if len(result["readers"]) > 2:
            for pair in together["cohen_kappa"]:
                told = pair if pair["value"] is not None else None
                yield f"    Cohen kappa of {pair['readers'][0]} and {pair['readers'][1]}: {_kappa(told)}"
    yield f"verdict  {result['verdict']}: {result['reason']}"
    yield f"         margin {result['margin']:g} around 0.5, level {result['alpha']:g}; looks alone: it says nothing of privacy"


def _ends(interval: Sequence[float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _share(share: Mapping[str, Any]) -> str:
    value = "-    " if share["value"] is None else f"{share['value']:.3f}"
    return f"{value} ({_ends(share['exact'])})"


def _kappa(kappa: Mapping[str, Any] | None) -> str:
    """
    >>> _kappa({"value": 0.5, "interval": [0.25, 0.75]}), _kappa(None)
    ('0.500 (0.250 to 0.750)', 'undefined: all answers are the same')
    """
    if kappa is None:
        return "undefined: all answers are the same"
    return f"{kappa['value']:.3f} ({_ends(kappa['interval'])})"
