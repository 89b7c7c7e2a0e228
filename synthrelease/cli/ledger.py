"""``synthrelease ledger``: what runs have spent on a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("ledger", short_help="Show or verify what runs have spent.")
@click.argument("action", type=click.Choice(["show", "verify"]), default="show")
@click.option("--cohort", "cohort_name", metavar="NAME", help="Cohort name from the policy; default: every cohort.")
@options.out
@options.ledger
@click.option("--delta", type=float, help="Compose at this delta; default: the largest one that a run stated.")
@click.option("--expect", metavar="HEAD", help="With verify: a head digest noted earlier; it must be in the chain.")
@options.speech
def command(
    action: str,
    cohort_name: str | None,
    home: Path,
    ledger_home: Path | None,
    delta: float | None,
    expect: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show what has been charged to each cohort, composed into one epsilon, or verify the chain of entries.

    Runs that crashed count in full; a run without privacy makes the composed figure unbounded.
    """
    from synthrelease.errors import UsageError
    from synthrelease.records.ledger import Ledger

    console = Console(as_json=as_json, quiet=quiet)
    folder = ledger_home or home / "ledgers"
    paths = sorted(folder.glob("*.jsonl")) if cohort_name is None else [folder / f"{cohort_name}.jsonl"]
    if not paths or not all(path.is_file() for path in paths):
        raise UsageError(
            f"no ledger{f' of {cohort_name}' if cohort_name else ''} in {folder}",
            fix="A ledger starts with the first run.",
        )
    if expect is not None and (action != "verify" or len(paths) != 1):
        raise UsageError("--expect goes with verify and one cohort", fix="Name the cohort with --cohort.")
    texts, values = [], []
    for path in paths:
        ledger = Ledger(path)
        if action == "verify":
            head = ledger.verify(expect=expect)
            texts.append(f"{path.stem}: {len(ledger.entries())} entries, chain intact, head {head}")
            values.append({"cohort": path.stem, "entries": len(ledger.entries()), "head": head})
        else:
            text, value = _shown(ledger, delta)
            texts.append(text)
            values.append(value)
    console.answer("\n\n".join(texts), values)
    return 0


def _shown(ledger: Any, delta: float | None) -> tuple[str, dict[str, Any]]:
    from math import isinf

    from synthrelease.privacy.accounting import composed_epsilon

    charges = ledger.charges()
    stated = [charge.delta for charge in charges if charge.delta is not None]
    at = delta if delta is not None else max(stated, default=1e-5)
    total = composed_epsilon(ledger, at)
    lines = [f"cohort {ledger.path.stem}"]
    runs = []
    for charge in charges:
        epsilon = charge.body.get("epsilon")
        cost = "unbounded (no privacy)" if charge.unbounded else f"epsilon {epsilon:.3f} at delta {charge.delta:.0e}"
        state = "spent" if charge.settled else "reserved, counts in full"
        lines.append(f"  {charge.run:<40} {cost:<34} {state}")
        runs.append(
            {
                "run": charge.run,
                "unbounded": charge.unbounded,
                "epsilon": epsilon,
                "delta": charge.delta,
                "settled": charge.settled,
            }
        )
    figure = "unbounded" if isinf(total) else f"epsilon {total:.3f} at delta {at:.0e}"
    lines += [f"  together: {figure} (add or remove one patient)", f"  head {ledger.head}"]
    value = {
        "cohort": ledger.path.stem,
        "runs": runs,
        "epsilon": None if isinf(total) else total,
        "delta": at,
        "head": ledger.head,
    }
    return "\n".join(lines), value
