"""``synthrelease features``: fit the eyes of the audit to images, and ask an encoder whom it has seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.features.uld.encoder import Role

_STAYS = {
    "public": "public: no patient had a part in it",
    "private": "private: it stays in the house, and no release holds it",
    "dp": "fitted under differential privacy; no release holds it all the same",
}


@click.group("features", short_help="Fit an image encoder without labels, or tell whom one has seen.")
def command() -> None:
    """Fit a local-discrimination encoder (ULD) to images without labels, or tell whom an encoder has seen.

    Two roles that cannot stand in for each other: `landmarks` knows anatomy and no person, `copies` knows tissue of persons.
    """


@command.command("fit", short_help="Fit an encoder to a cohort, or to phantoms.")
@click.option(
    "--cohort", type=click.Path(path_type=Path), metavar="DIR", help="Private images: folder of DICOM, or a table."
)
@click.option("--phantoms", is_flag=True, help="Simulated patients instead: makes the public encoder again.")
@click.option("--role", type=click.Choice(["landmarks", "copies"]), default="landmarks", show_default=True,
              help="What it is for.")  # fmt: skip
@click.option("--mode", type=click.Choice(["within", "paper"]), default="within", show_default=True,
              help="Of landmarks: negatives within an image, or the published form.")  # fmt: skip
@click.option("--side", type=click.Choice(["32", "64", "128"]), help="Pixels on a side; default: 64.")
@click.option("--steps", type=click.IntRange(1, 10_000_000), help="Training steps; default: the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="The encoder's file, FILE.safetensors; default: runs/encoders/ROLE[.private].safetensors.")  # fmt: skip
@click.option(
    "--policy", metavar="FILE", help="How to read the cohort (window, identity); default: as folders of an audit."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted fit of the same --out.")
@options.threads
@options.speech
def fit(
    cohort: Path | None,
    phantoms: bool,
    role: Role,
    mode: Literal["within", "paper"],
    side: str | None,
    steps: int | None,
    out: Path | None,
    policy: str | None,
    resume: bool,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Fit an encoder to all patients of a cohort together, or to phantoms, and write one .safetensors file.

    The cohort is only read. While it runs, pixels and state lie in FILE.fit.private/, which is removed at the end. One
    that was interrupted goes on with --resume and ends as if it had not been.

    A cohort's encoder is fitted to both sides of any split, since one that knew the training side alone would treat the two
    unlike in an audit. It is charged to no ledger: it says in itself that it is private, the audit of the same cohort refuses
    it, and no release holds it.
    """
    from synthrelease.errors import UsageError

    console = Console(as_json=as_json, quiet=quiet)
    if (cohort is None) is not phantoms:
        raise UsageError("an encoder is fitted to a cohort or to phantoms", fix="Give --cohort DIR, or --phantoms.")
    from synthrelease.workflow import Desk, Wanted, fit_features

    home = Path("runs")
    file = out or home / "encoders" / f"{role}{'' if phantoms else '.private'}.safetensors"
    desk = Desk(home, home / "ledgers", console, threads)
    wanted = Wanted(role, file, cohort, policy, mode, int(side) if side else None, steps)
    told = fit_features(desk, wanted, resume=resume)
    console.answer(_text(told), told)
    return 0


@command.command("show", short_help="Tell whom an encoder has seen.")
@click.argument("file", type=click.Path(path_type=Path))
@options.speech
def show(file: Path, as_json: bool, quiet: bool) -> int:
    """Tell role, digest and provenance of an encoder's file."""
    from synthrelease.errors import UsageError
    from synthrelease.features.uld.encoder import Encoder
    from synthrelease.workflow.features import described

    if not file.is_file():
        raise UsageError(f"there is no file {file.name}", fix="Name an encoder, FILE.safetensors.")
    told = {**described(Encoder.load(file)), "file": str(file)}
    Console(as_json=as_json, quiet=quiet).answer(_text(told), told)
    return 0


def _text(told: dict[str, Any]) -> str:
    """For people.

    >>> print(_text({"role": "copies", "file": "e.safetensors", "digest": "ab" * 32, "kind": "public", "source": "phantoms"}))
    encoder for copies: e.safetensors
      digest  abababababababab
      source  phantoms
      public: no patient had a part in it
    """
    privacy = f" (epsilon {told['epsilon']:g}, delta {told['delta']:g})" if told["kind"] == "dp" else ""
    return "\n".join(
        [
            f"encoder for {told['role']}: {told['file']}",
            f"  digest  {told['digest'][:16]}",
            f"  source  {told['source']}",
            f"  {_STAYS[told['kind']]}{privacy}",
        ]
    )
