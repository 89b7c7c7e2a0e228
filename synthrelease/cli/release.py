"""``synthrelease release``: seal and sign an approved run, a pack for recipients."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("release", short_help="Seal and sign an approved run: a pack.")
@options.run
@options.out
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The pack's folder; default: OUT/releases/NAME.",
)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="KEY.pem",
    help="Private key to sign with; see keygen.",
)
@options.passphrase_file
@click.option("--unsigned", is_flag=True, help="Seal without a signature; the pack says so on its first page.")
@options.ledger
@options.dry_run
@options.speech
def command(
    run_name: str | None,
    home: Path,
    target: Path | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    unsigned: bool,
    ledger_home: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Seal a run whose audit passed and that two people approved; anything less is refused.

    The pack is a BagIt bag: the archive, the external report and the evidence with manifests of SHA-256 digests, and no
    model, no internal report and nothing of the cohort. An Ed25519 signature over it goes beside them.
    """
    from datetime import UTC, datetime

    from synthrelease.cli.passphrases import old_passphrase
    from synthrelease.errors import IntegrityError, UsageError
    from synthrelease.records.files import read_json
    from synthrelease.records.ledger import Event, Ledger
    from synthrelease.records.runs import find_run
    from synthrelease.release import keys
    from synthrelease.release.approvals import enough_valid_approvals, read_approvals
    from synthrelease.release.pack import ReleaseRecord
    from synthrelease.release.run_records import read_run, require_chain, require_passing_audit
    from synthrelease.release.sealing import seal
    from synthrelease.release.typed_texts import TYPED, require_no_private_value

    console = Console(as_json=as_json, quiet=quiet)
    if unsigned and (key_file or passphrase_file):
        raise UsageError("--unsigned and --key contradict each other", fix="Give one of them.")
    if key_file is None and not unsigned and not dry_run:
        raise UsageError(
            "a release is signed: no key was given",
            fix="Give --key KEY.pem (`synthrelease keygen` makes one), or say --unsigned.",
        )
    run = find_run(home, run_name)
    records = read_run(run.folder)
    now = datetime.now(UTC)
    if dry_run:
        require_passing_audit(records.audit, "release")
        require_chain(records)
        signed = enough_valid_approvals(records.policy, read_approvals(run.folder), records.digests, now)
        names = [approval.by for approval in signed]
        console.stage("comparing what approvers typed with the private archive")
        typed = require_no_private_value(run.folder, records.policy, signed)
        console.answer(
            f"run {run.name} can be released; signed by {', '.join(names)}\n{typed.told}",
            {"run": run.name, "approvers": names, "typed_texts": typed.told},
        )
        return 0
    key = keys.read_private(key_file, lambda: old_passphrase(passphrase_file, key_file)) if key_file else None
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
            told = {"release": record.name, "digests": record.digests, "root": record.root_digest, "key": record.key_id}
            ledger.append(Event.RELEASED, run.name, told)

    console.stage("comparing what approvers typed with the private archive, and sealing")
    record = seal(run.folder, target, now, key=key, ledger=ledger, on_released=enter)
    typed_told = read_json(target / "evidence" / TYPED)["told"]
    told = (
        "Recipients have the public key by another way than the pack, and run "
        f"`synthrelease verify {target.name} --key KEY.pub.pem`."
        if record.key_id
        else "NOT SIGNED. Send the root digest by another way than the pack; recipients run "
        f"`synthrelease verify {target.name} --expect ROOT`."
    )
    text = (
        f"sealed {record.name}: {record.images} images, {record.files} files, until {record.expires_on[:10]}\n"
        f"pack   {target}\nroot   {record.root_digest}\nkey    {record.key_id or 'none'}\n{typed_told}\n{told}"
    )
    console.answer(text, {**record.to_json(), "pack": str(target), "typed_texts": typed_told})
    return 0
