"""Examples in docstrings say what is true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["approvals", "bag", "dates", "envelope", "extracts", "keys", "pages"])
def test_examples_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"synthrelease.release.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
