"""Under a claim the painter learns masks before it teaches itself in private steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.errors import PolicyError
from synthrelease.policy.loader import load_policy
from synthrelease.policy.shipped import shipped_file


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The shipped policy with private steps, and with some of its lines written otherwise."""
    text = shipped_file("policies", "um_eps8").read_text()
    for old, new in (*STEPS, *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "policy.yaml").write_text(text)
    return tmp_path / "policy.yaml"


STEPS = (("  moments_share: 1\n", "  moments_share: 0.7\n"), ("  steps: 0 ", "  steps: 100 "))
NO_WARM_UP = ("warmup_steps: 1000", "warmup_steps: 0")


def test_private_steps_without_a_warm_up_are_refused_with_line_and_remedy(tmp_path: Path) -> None:
    path = changed(tmp_path, NO_WARM_UP)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "warmup_steps: 0" in text)
    with pytest.raises(PolicyError) as raised:
        load_policy(path, None)
    assert f"{line}:" in str(raised.value)
    assert "generator.warmup_steps: must be above 0" in str(raised.value)
    assert "pseudo-masks count in full before the painter has learned any mask" in str(raised.value)
    assert "or set generator.pseudo_weight: 0" in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (("warmup_steps: 1000", "warmup_steps: 1"),),
        (NO_WARM_UP, ("  guidance:", "  pseudo_weight: 0\n  guidance:")),
        (
            NO_WARM_UP,
            ("  segments: [right_lung, left_lung, heart, nodule, effusion]\n", ""),
            ("  labelled_share: 0.25\n", ""),
        ),
    ],
)
def test_a_warm_up_no_pseudo_masks_or_no_masks_at_all_will_do(
    changes: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    load_policy(changed(tmp_path, *changes), None)
