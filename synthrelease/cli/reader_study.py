"""``synthrelease reader-study``: people tell real from synthetic, blinded; and what their answers are worth."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

_PATH = click.Path(path_type=Path)


@click.group(
    "reader-study", short_help="Let people tell real from synthetic: write a blinded study, score the answers."
)
def command() -> None:
    """Let people tell real from synthetic images, blinded.

    `export` writes a series with a sheet for answers and a key; `score` compares answers with the key. A study holds images of
    real patients and stays in the house. It measures looks, never privacy.
    """


@command.command("export", short_help="Write a blinded series, a sheet and a key.")
@options.run
@options.out
@click.option(
    "--to", "folder", type=_PATH, metavar="DIR", help="The study's folder; default: RUN/reader-study.private."
)
@click.option("--key", "key_file", type=_PATH, metavar="FILE",
              help="The key, for whoever scores; default: beside the folder, DIR.key.private.json.")  # fmt: skip
@click.option("--images", type=int, help="Different images, half of each kind; default: what the margin needs.")
@click.option("--repeats", type=int, default=0, show_default=True, help="Images shown a second time.")
@click.option("--margin", type=float, default=0.1, show_default=True,
              help="Right answers within this of one half count as guessing.")  # fmt: skip
@click.option("--real-from", type=click.Choice(["holdout", "train"]), default="holdout", show_default=True,
              help="Whose images the real ones are: patients that the generator never saw, or its training patients.")  # fmt: skip
@options.speech
def export(
    run_name: str | None,
    home: Path,
    folder: Path | None,
    key_file: Path | None,
    images: int | None,
    repeats: int,
    margin: float,
    real_from: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write real and synthetic images in random order as one DICOM series, with sheets to answer on.

    No attribute, UID, size or date of a file tells what it shows, and all pixel values have one scale and one grain. Real images
    are shown at the generator's resolution, one of a patient. The key lies apart, mode 0600; the sheet names its digest.
    """
    from synthrelease.cohort.store import Split
    from synthrelease.records.runs import find_run
    from synthrelease.workflow.desk import Desk
    from synthrelease.workflow.reader_study import StudyWish, export_study

    console = Console(as_json=as_json, quiet=quiet)
    run = find_run(home, run_name)
    folder = folder or run.folder / "reader-study.private"
    wish = StudyWish(
        folder,
        key_file or folder.with_name(f"{folder.name}.key.private.json"),
        images,
        repeats,
        margin,
        Split(real_from),
    )
    told = export_study(Desk(home, home / "ledgers", console, None), run, wish)
    lines = [
        f"reader study {told['study']}: {told['cases']} cases, INTERNAL",
        f"  series  {folder / 'images'}",
        f"  sheets  {folder / 'answers.csv'}, {folder / 'answers.html'}: one copy a reader",
        f"  key     {told['key']}: not for readers; sha256 {told['key_sha256'][:16]}...",
        f"  power   {told['power']:.2f} to show that a reader guesses (within {margin:g} of 0.5)",
        *(f"  warning: {warning}" for warning in told["warnings"]),
        f"  next: synthrelease reader-study score {folder} --key {told['key']} --answers FILE ...",
    ]
    console.answer("\n".join(lines), {**told, "folder": str(folder)})
    return 0


@command.command("score", short_help="Compare answers with the key.")
@click.argument("folder", type=_PATH)
@click.option("--key", "key_file", type=_PATH, metavar="FILE", help="The key; default: FOLDER.key.private.json.")
@click.option("--answers", type=_PATH, multiple=True, required=True, metavar="FILE",
              help="A filled answers.csv; once a reader.")  # fmt: skip
@options.speech
def score(folder: Path, key_file: Path | None, answers: tuple[Path, ...], as_json: bool, quiet: bool) -> int:
    """Tell how often each reader was right, how far readers agree, and whether they guess.

    The verdict is equivalent when every reader's share of right answers lies within the margin of one half (two one-sided tests), told
    apart when one reader's does not, else inconclusive. Names readers, no case and no patient.
    """
    from synthrelease.report.reader_study.text import result_text
    from synthrelease.workflow.reader_study import score_study

    folder = Path(str(folder).rstrip("/"))
    result = score_study(folder, key_file or folder.with_name(f"{folder.name}.key.private.json"), answers)
    Console(as_json=as_json, quiet=quiet).answer(result_text(result), result)
    return 0
