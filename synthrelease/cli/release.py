"""``synthrelease release``: seal an approved run into a pack for recipients."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("release", short_help="Seal an approved run into a pack.")
@options.run
@options.out
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The pack's folder; default: OUT/releases/NAME.",
)
@options.ledger
@options.dry_run
@options.speech
def command(
    run_name: str | None,
    home: Path,
    target: Path | None,
    ledger_home: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Seal a run whose audit passed and that two people approved; anything less is refused.

    The pack holds the archive, the external report and the evidence with a manifest of SHA-256 digests, and no model,
    no internal report and nothing of the cohort.
    """
    from datetime import UTC, datetime

    from synthrelease.errors import IntegrityError
    from synthrelease.records.ledger import Event, Ledger
    from synthrelease.records.runs import find_run
    from synthrelease.release.approvals import enough_valid_approvals, read_approvals
    from synthrelease.release.pack import ReleaseRecord
    from synthrelease.release.run_records import read_run, require_chain, require_passing_audit
    from synthrelease.release.sealing import seal

    console = Console(as_json=as_json, quiet=quiet)
    run = find_run(home, run_name)
    records = read_run(run.folder)
    now = datetime.now(UTC)
    if dry_run:
        require_passing_audit(records.audit, "release")
        require_chain(records)
        signed = enough_valid_approvals(records.policy, read_approvals(run.folder), records.digests, now)
        names = [approval.by for approval in signed]
        console.answer(
            f"run {run.name} can be released; signed by {', '.join(names)}", {"run": run.name, "approvers": names}
        )
        return 0
    target = target or home / "releases" / f"{records.policy.release.name}-{now:%Y%m%d-%H%M%S}"
    own = run.folder / "ledger"
    ledger = Ledger(
        (ledger_home or (own if own.is_dir() else home / "ledgers")) / f"{records.policy.cohort.name}.jsonl"
    )
    if not any(charge.run == run.name for charge in ledger.charges()):
        raise IntegrityError(
            f"the ledger of {records.policy.cohort.name} does not hold the run {run.name}",
            fix="Name the folder of the ledger that it was trained with: --ledger.",
        )

    def enter(record: ReleaseRecord) -> None:
        with ledger.locked():
            if not any(charge.run == run.name for charge in ledger.charges()):
                raise IntegrityError(f"the charge of {run.name} was voided", fix="A voided run is not released.")
            ledger.append(Event.RELEASED, run.name, {"release": record.name, "digests": record.digests})

    record = seal(run.folder, target, now, ledger=ledger, on_released=enter)
    text = (
        f"sealed {record.name}: {record.images} images, {record.files} files, until {record.expires_on[:10]}\n"
        f"pack   {target}\nroot   {record.root_digest}\n"
        f"Send the root digest by another way than the pack; recipients run `synthrelease verify {target.name} --expect ROOT`."
    )
    console.answer(text, {**record.to_json(), "pack": str(target)})
    return 0
