"""How a client that is not installed is met: skipped, or a failure where every client is demanded."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

DEMANDED = os.environ.get("SYNTHRELEASE_CLIENTS") == "all"
"""`make clients` sets it: every client must be there, and the slow checks run."""


def need(missing: str) -> None:
    """Skip the test for the reason given, or fail it where every client is demanded; "" does nothing."""
    if missing and DEMANDED:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def importorskip(name: str) -> ModuleType:
    """The module, or `need` for what it comes with."""
    try:
        return importlib.import_module(name)
    except ImportError:
        need(f"{name} is not installed (pip install -r clients/requirements.txt)")
        raise
