"""How a long stage tells how far it is. Silent by default; the command line alone prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by a stage, shown by the command line."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; ``total`` steps when known."""
        ...

    def step(self, done: int, facts: str = "") -> None:
        """``done`` steps of the stage are behind us; ``facts`` is one short line of public figures."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        ...


class Silent:
    """Says nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        pass

    def step(self, done: int, facts: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass
