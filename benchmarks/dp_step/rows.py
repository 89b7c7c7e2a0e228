"""What was measured, a row a configuration, and the figures that come of all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.dp_step.contenders import CONTENDERS
from benchmarks.dp_step.measuring import Peak, Timing, ratio
from benchmarks.dp_step.networks import Configuration


@dataclass(frozen=True)
class Row:
    """One configuration measured.

    Attributes:
        configuration: What was stepped.
        parameters: Trained parameters; 0 when nothing was measured.
        clock: ``cpu`` or ``wall``: which seconds the ratios are made of.
        timing: Times by contender, and who was left out and why.
        memory: Peak by contender; empty where it was not asked for.
    """

    configuration: Configuration
    clock: str
    timing: Timing
    memory: dict[str, Peak | None] = field(default_factory=dict)

    def overhead(self, name: str) -> float | None:
        """A contender's step over the plain one, None when one of them was left out."""
        return self._ratio(name, "plain")

    @property
    def fastest_opacus(self) -> str | None:
        """The mode of Opacus with the shortest step here."""
        modes = {n: o for n in self.timing.times if CONTENDERS[n].opacus and (o := self.overhead(n)) is not None}
        return min(modes, key=modes.__getitem__) if modes else None

    @property
    def speedup(self) -> float | None:
        """The step of Opacus's fastest mode over ours."""
        return self._ratio(self.fastest_opacus, "ours")

    @property
    def noise_share(self) -> float | None:
        """Share of our step's CPU time that goes to the noise."""
        ours = self.timing.times.get("ours")
        return median((n or 0.0) / c for n, c in zip(ours.noise, ours.cpu, strict=True)) if ours else None

    def _ratio(self, above: str | None, below: str) -> float | None:
        times = self.timing.times
        if above not in times or below not in times:
            return None
        return ratio(times[above], times[below], self.clock)

    def to_json(self) -> dict[str, Any]:
        """Medians by contender and the ratios."""
        contenders = {
            name: {
                "cpu_ms": 1e3 * median(each.cpu),
                "wall_ms": 1e3 * median(each.wall),
                "noise_cpu_ms": None if None in each.noise else 1e3 * median(n or 0.0 for n in each.noise),
                "first_wall_ms": 1e3 * each.first,
                "rounds": len(each.cpu),
                "overhead_vs_plain": self.overhead(name),
            }
            for name, each in self.timing.times.items()
        }
        return asdict(self.configuration) | {
            "patients": self.configuration.patients,
            "parameters": self.timing.parameters,
            "contenders": contenders,
            "skipped": self.timing.skipped,
            "overhead_vs_plain": self.overhead("ours"),
            "fastest_opacus": self.fastest_opacus,
            "speedup_vs_opacus": self.speedup,
            "noise_share": self.noise_share,
            "peak_mb": {name: asdict(each) if each else None for name, each in self.memory.items()},
        }


def middle(rows: Sequence[Row], value: Callable[[Row], float | None]) -> float | None:
    """Median over the rows that have the value."""
    values = [v for row in rows if (v := value(row)) is not None]
    return median(values) if values else None


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """The medians over configurations, of all and by network, and how many of them could be compared with the plain step."""
    by_network = {
        name: _medians([row for row in rows if row.configuration.network == name])
        for name in dict.fromkeys(row.configuration.network for row in rows)
    }
    compared = sum(row.overhead("ours") is not None for row in rows)
    return _medians(rows) | {"configurations": len(rows), "compared": compared, "by_network": by_network}


def _medians(rows: Sequence[Row]) -> dict[str, float | None]:
    return {
        "overhead_vs_plain": middle(rows, lambda row: row.overhead("ours")),
        "speedup_vs_opacus": middle(rows, lambda row: row.speedup),
        "noise_share": middle(rows, lambda row: row.noise_share),
    }
