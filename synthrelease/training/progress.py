"""What a caller may show while training goes on."""

from __future__ import annotations

from typing import Protocol


class TrainingProgress(Protocol):
    """Receives progress; the command line prints it, tests collect it."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins: ``moments``, ``warm-up`` or ``steps``, with its number of units."""
        ...

    def step(self, done: int, epsilon: float | None) -> None:
        """``done`` units of the stage are finished; ``epsilon`` is an upper bound on what was spent, None without a claim."""
        ...

    def notice(self, text: str) -> None:
        """A sentence that people should read."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def step(self, done: int, epsilon: float | None) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""
