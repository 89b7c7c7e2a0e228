"""``synthrelease sample``: write the synthetic archive of a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.records.runs import Run


@click.command("sample", short_help="Write the synthetic DICOM archive of a run.")
@options.run
@options.out
@click.option(
    "--style-grid",
    "styles",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Write a picture of every class in N styles in place of the archive.",
)
@options.threads
@options.dry_run
@options.speech
def command(
    run_name: str | None,
    home: Path,
    styles: int | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw the images, masks and labels that the policy asks for and write them as DICOM.

    Reads the checkpoint only. The same run sampled twice is the same archive, byte by byte. Where a guide steered the
    images, a table tells how many of each class it accepted. With --style-grid, only a picture is written: rows share a
    content, columns a style.
    """
    from synthrelease.records.runs import find_run

    console = Console(as_json=as_json, quiet=quiet)
    run = find_run(home, run_name)
    if dry_run:
        policy = run.read(run.policy, "train")
        run.require(run.training, "train")
        images = policy["archive"]["images"]
        if styles is not None:
            console.answer(f"would write {run.style_grid}", {"run": run.name, "styles": styles})
            return 0
        console.answer(
            f"would write {images} images of run {run.name} to {run.archive}", {"run": run.name, "images": images}
        )
        return 0
    from synthrelease.workflow import Desk, sample_run, style_grid

    if styles is not None:
        grid = style_grid(Desk(home, home / "ledgers", console, threads), run, styles)
        rows: list[str] = grid["rows"]
        console.answer(
            f"painted {len(rows)} contents in {styles} styles\n  rows: {', '.join(rows)}\n  picture {grid['path']}",
            grid,
        )
        return 0
    sample_run(Desk(home, home / "ledgers", console, threads), run)
    return archive_answer(console, run)


def archive_answer(console: Console, run: Run) -> int:
    """Print what archive.json says."""
    from synthrelease.cli.coverage import coverage_text, coverage_warnings

    record = run.read(run.archive_record, "sample")
    counts = ", ".join(f"{count} {name}" for name, count in record["class_counts"].items())
    lines = [f"sampled {record['images']} images ({counts}) with {record['segmentations']} segmentations"]
    answer = {
        "run": str(run.folder),
        "archive": str(run.archive),
        "images": record["images"],
        "classes": record["class_counts"],
    }
    if coverage := record.get("coverage"):
        warnings = list(coverage_warnings(coverage))
        lines += [coverage_text(coverage), *(f"  warning: {warning}" for warning in warnings)]
        answer |= {"coverage": coverage, "warnings": warnings}
    lines += [f"  archive {run.archive}", "  next: synthrelease audit"]
    console.answer("\n".join(lines), answer)
    return 0
