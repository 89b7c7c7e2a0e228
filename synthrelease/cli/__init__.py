"""The command line: one file a verb, and the only place that prints."""

from __future__ import annotations

from synthrelease.cli.group import main

__all__ = ["main"]
