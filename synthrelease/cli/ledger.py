"""``synthrelease ledger``: what runs have spent on a cohort, and what its custodian allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.records.ledger import Ledger

_HELP = {"-h", "--help"}


class _ShowsByDefault(click.Group):
    """``synthrelease ledger`` alone shows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in _HELP):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group("ledger", cls=_ShowsByDefault, short_help="What runs have spent on a cohort, and its cap.")
def command() -> None:
    """Show what has been charged to each cohort, verify it, cap it, or void a charge.

    A ledger is append-only: runs that crashed, failed or were repeated count in full, a cap that was raised stays in
    the history, and a voided charge is shown as voided. A run without privacy makes the composed figure unbounded.
    """


_cohort = click.option(
    "--cohort", "cohort_name", metavar="NAME", help="Cohort name from the policy; default: every one."
)
_one_cohort = click.option(
    "--cohort", "cohort_name", metavar="NAME", required=True, help="Cohort name from the policy."
)


@command.command("show", short_help="Cap, composed epsilon, what is left, every run.")
@_cohort
@options.out
@options.ledger
@click.option(
    "--delta", type=float, help="Compose at this delta; default: the cap's, else the largest that a run stated."
)
@options.speech
def show(
    cohort_name: str | None, home: Path, ledger_home: Path | None, delta: float | None, as_json: bool, quiet: bool
) -> int:
    """Show cap, composed epsilon, what is left, and every run by mechanism.

    Cohorts that share a patient (found by keyed digests) are composed together; only their names are told.
    """
    from synthrelease.cli.ledger_pages import page_of
    from synthrelease.errors import UsageError

    if delta is not None and not 0 < delta < 1:
        raise UsageError(f"--delta {delta:g} is not between 0 and 1", fix="Give a delta such as 1e-5.")
    pages = [page_of(ledger, delta) for ledger in _ledgers(ledger_home or home / "ledgers", cohort_name)]
    console = Console(as_json=as_json, quiet=quiet)
    console.answer("\n\n".join(text for text, _ in pages), [value for _, value in pages])
    return 0


@command.command("verify", short_help="Check chain and patient digests.")
@_cohort
@options.out
@options.ledger
@click.option("--expect", metavar="HEAD", help="A head digest noted earlier; it must be in the chain.")
@options.speech
def verify(
    cohort_name: str | None, home: Path, ledger_home: Path | None, expect: str | None, as_json: bool, quiet: bool
) -> int:
    """Check the chain of entries, the patient digests beside it, and that every use has its reservation."""
    from synthrelease.errors import UsageError
    from synthrelease.privacy.high_water import require_ledgers_of_uses
    from synthrelease.privacy.overlap import house_key, noted_patients

    ledgers = _ledgers(ledger_home or home / "ledgers", cohort_name)
    require_ledgers_of_uses(ledger_home or home / "ledgers")
    if expect is not None and len(ledgers) != 1:
        raise UsageError("--expect goes with one cohort", fix="Name it with --cohort.")
    texts, values = [], []
    for ledger in ledgers:
        head = ledger.verify(expect=expect)
        ledger.history(), ledger.caps()
        noted_patients(ledger, house_key(ledger.path.parent, make=False))
        entries = len(ledger.entries())
        texts.append(f"{ledger.path.stem}: {entries} entries, chain intact, head {head}")
        values.append({"cohort": ledger.path.stem, "entries": entries, "head": head})
    Console(as_json=as_json, quiet=quiet).answer("\n".join(texts), values)
    return 0


@command.command("cap", short_help="Set the most that may ever be charged.")
@_one_cohort
@options.out
@options.ledger
@click.option("--epsilon", type=float, required=True, help="The most that all runs together may ever cost.")
@click.option("--delta", type=float, required=True, help="At this delta.")
@click.option("--by", required=True, metavar="NAME", help="Who sets it: the cohort's custodian.")
@click.option("--statement", default="", metavar="TEXT", help="Why; needed where a cap is raised.")
@click.option("--new", is_flag=True, help="Open the ledger of a cohort that no run has used yet.")
@options.speech
def cap(
    cohort_name: str,
    home: Path,
    ledger_home: Path | None,
    epsilon: float,
    delta: float,
    by: str,
    statement: str,
    new: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Set the most that may ever be charged to a cohort; training refuses what is over it (exit code 5).

    A policy's privacy.lifetime_epsilon can be lower, and then decides; it cannot raise the cap. A cap below what is
    charged already is accepted and refuses every further run.
    """
    from synthrelease.cli.ledger_pages import cap_words, figure
    from synthrelease.privacy.lifetime import standing
    from synthrelease.records.ledger import Cap

    ledger = _one_ledger(ledger_home or home / "ledgers", cohort_name, new=new)
    with ledger.locked():
        before = ledger.cap
        if Cap(epsilon, delta, by, "", statement, False).allows_more_than(before):
            _refuse_operator(ledger, by, "raise its cap")
        now = ledger.set_cap(epsilon, delta, by=by, statement=statement)
    spent = standing(ledger, delta)
    over = spent.together > epsilon
    text = f"cohort {cohort_name}: {cap_words(now, before)}"
    if over:
        text += f"\n  charged already: {figure(spent.together, delta)}; every further run is refused"
    else:
        text += f"\n  charged so far: {figure(spent.together, delta)}"
    value = {
        "cohort": cohort_name,
        "epsilon": epsilon,
        "delta": delta,
        "by": now.by,
        "raised": now.raised,
        "already_over": over,
        "head": ledger.head,
    }
    Console(as_json=as_json, quiet=quiet).answer(f"{text}\n  head {ledger.head}", value)
    return 0


@command.command("void", short_help="Void the charge of a run that nobody saw.")
@_one_cohort
@options.out
@options.ledger
@click.option("--run", "run_name", required=True, metavar="RUN", help="Name of the run, or its reservation.")
@click.option("--by", required=True, metavar="NAME", help="Who voids it: the cohort's custodian, never the operator.")
@click.option("--statement", required=True, metavar="TEXT", help="Who destroyed what, unseen, and when.")
@options.speech
def void(
    cohort_name: str,
    home: Path,
    ledger_home: Path | None,
    run_name: str,
    by: str,
    statement: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Void the charge of a run whose outputs were all destroyed before anybody saw them.

    The run stays in the history, marked as voided with your name and statement. It can neither go on, be sampled nor be
    released. Refused while its outputs lie below --out; copies elsewhere are yours to destroy.
    """
    from synthrelease.errors import UsageError

    ledger = _one_ledger(ledger_home or home / "ledgers", cohort_name)
    with ledger.locked():
        charges = [
            charge
            for charge in ledger.charges()
            if charge.run == run_name or (len(run_name) >= 12 and charge.reservation.startswith(run_name))
        ]
        if len(charges) != 1:
            raise UsageError(
                f"the ledger of {cohort_name} holds {len(charges) or 'no'} charges of a run '{run_name}' that count",
                fix="See `synthrelease ledger show --json` for runs and their reservations; a reservation names one charge.",
            )
        _refuse_operator(ledger, by, "void a charge on it")
        kept = [name for name in ("checkpoint", "training.json", "archive") if (home / charges[0].run / name).exists()]
        if kept:
            raise UsageError(
                f"the run {charges[0].run} still has {', '.join(kept)}: what can be looked at is not void",
                fix="Destroy the run's folder and every copy of it first, then say so.",
            )
        ledger.void(charges[0].reservation, who=by, statement=statement)
    text = f"cohort {cohort_name}: the charge of {run_name} is voided by {by.strip()}\n  head {ledger.head}"
    value: dict[str, Any] = {"cohort": cohort_name, "run": run_name, "by": by.strip(), "head": ledger.head}
    Console(as_json=as_json, quiet=quiet).answer(text, value)
    return 0


def _ledgers(folder: Path, cohort_name: str | None) -> list[Ledger]:
    """The ledger of that cohort, or every one in the folder."""
    from synthrelease.errors import UsageError
    from synthrelease.records.ledger import Ledger

    if cohort_name is not None:
        return [_one_ledger(folder, cohort_name)]
    ledgers = [Ledger(path) for path in sorted(folder.glob("*.jsonl"))]
    if not ledgers:
        raise UsageError(
            f"no ledger in {folder}", fix="A ledger starts with the first run, or with `ledger cap --new`."
        )
    return ledgers


def _one_ledger(folder: Path, cohort_name: str, *, new: bool = False) -> Ledger:
    """The ledger of that cohort.

    Raises:
        UsageError: There is none, and none is to be opened, or that is no name of a cohort.
    """
    import re
    from difflib import get_close_matches

    from synthrelease.errors import UsageError
    from synthrelease.records.ledger import Ledger

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", cohort_name):
        raise UsageError(
            f"no ledger of {cohort_name!r}: a cohort's name is a word of small letters, digits and _",
            fix="Take cohort.name from the policy.",
        )
    path = folder / f"{cohort_name}.jsonl"
    if not (path.is_file() or new):
        near = get_close_matches(cohort_name, [other.stem for other in folder.glob("*.jsonl")], n=1)
        hint = (
            f"Did you mean '{near[0]}'?" if near else "A ledger starts with the first run, or with `ledger cap --new`."
        )
        raise UsageError(f"no ledger of {cohort_name} in {folder}", fix=hint)
    return Ledger(path)


def _refuse_operator(ledger: Ledger, by: str, what: str) -> None:
    """Four eyes: who runs on a cohort does not loosen its budget."""
    from synthrelease.errors import ApprovalError
    from synthrelease.release.approvals import person

    if person(by) in {person(charge.who) for charge in ledger.history()}:
        raise ApprovalError(
            f"{by.strip()} is the operator of a run on {ledger.path.stem} and may not {what}",
            fix="Ask the cohort's custodian.",
        )
