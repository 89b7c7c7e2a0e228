"""What a policy cannot ask of its cohort is told by every verb that reads the policy, before anything is simulated or read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHIPPED = Path(__file__).parents[3] / "policies" / "um_eps8.yaml"


@pytest.mark.parametrize("verb", [["check"], ["plan", "--policy"], ["train", "--policy"]], ids=lambda verb: verb[0])
def test_a_class_that_is_to_lack_an_organ_is_refused_at_once(
    say: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "policy.yaml"
    asked = SHIPPED.read_text(encoding="utf-8").replace(
        "  masks: optional", "  unmarked_classes: [normal]\n  masks: optional"
    )
    policy.write_text(asked, encoding="utf-8")
    told = say(*verb, str(policy))
    assert told.code == 2
    assert "cannot be taken to lack 'right_lung'" in told.out + told.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == ["policy.yaml"]
    assert not list(tmp_path.glob("runs/*"))
