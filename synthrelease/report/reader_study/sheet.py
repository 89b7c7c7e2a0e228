"""What a reader fills in: a table for a spreadsheet, and a page to print.

Both name the study and the digest of its key. Neither tells how many of the cases are synthetic.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.report.reader_study.key import INTERNAL
from synthrelease.report.reader_study.scoring import ReaderAnswers
from synthrelease.report.reader_study.series import case_name

COLUMNS = ("case", "answer", "confidence", "remark")
SURE = (1, 5)
_WORDS = {"synthetic": True, "s": True, "fake": True, "real": False, "r": False}
_MOST_SHOWN = 5
_BLOCK = 25


@dataclass(frozen=True)
class Sheet:
    """What the sheets of a study say.

    Attributes:
        study: Its public number.
        key_digest: SHA-256 of the key's file.
        cases: How many there are, repeats among them.
    """

    study: str
    key_digest: str
    cases: int


def sheet_csv(sheet: Sheet) -> str:
    """The table to fill in: a head, then one row a case."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([INTERNAL])
    writer.writerow(["study", sheet.study, "key sha256", sheet.key_digest])
    writer.writerow(["reader", ""])
    writer.writerow(COLUMNS)
    writer.writerows([_number(case), "", "", ""] for case in range(1, sheet.cases + 1))
    return stream.getvalue()


def sheet_html(sheet: Sheet) -> str:
    """The page to print: no script, no network, no image."""
    environment = Environment(
        loader=PackageLoader("synthrelease.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    numbers = [_number(case) for case in range(1, sheet.cases + 1)]
    blocks = [numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK)]
    sure = [str(level) for level in range(SURE[0], SURE[1] + 1)]
    return environment.get_template("reader_sheet.html").render(
        sheet=sheet, notice=INTERNAL, blocks=blocks, sure=sure, first=case_name(1), last=case_name(sheet.cases)
    )


def read_answers(path: Path, sheet: Sheet) -> ReaderAnswers:
    """The answers in a filled table, as spreadsheets save it: comma, semicolon or tab; blank rows are passed over.

    Args:
        path: The CSV file.
        sheet: Of the study.

    Returns:
        Cases without an answer are left out; the reader is the one named in the head, else the file's name.

    Raises:
        UsageError: The file cannot be read, or a row says what no row may; the first rows are named.
        IntegrityError: The table belongs to another study or another key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the answers {path.name} cannot be read", fix="Save them as CSV, UTF-8.") from error
    rows = _rows(text)
    at = next((place for place, row in enumerate(rows) if row[:2] == list(COLUMNS[:2])), None)
    if at is None:
        raise UsageError(f"{path.name} has no row 'case, answer'", fix="Fill in the sheet that export wrote.")
    head = {row[0]: row[1:] for row in rows[:at] if row}
    told = head.get("study", [])
    if told[:1] != [sheet.study] or told[2:3] != [sheet.key_digest]:
        raise IntegrityError(
            f"{path.name} is the sheet of another study or another key", fix="Name the study and key it belongs to."
        )
    reader = next((cell for cell in head.get("reader", []) if cell), "") or path.stem
    called: dict[int, bool] = {}
    sure: dict[int, int] = {}
    problems: list[str] = []
    for row in rows[at + 1 :]:
        cells = [*row, "", "", ""]
        case, answer, confidence = cells[0], cells[1].casefold(), cells[2]
        wrong = _problem(case, answer, confidence, called, sheet)
        if wrong:
            problems.append(wrong)
        elif answer:
            called[int(case)] = _WORDS[answer]
            if confidence:
                sure[int(case)] = int(confidence)
    if problems:
        more = f" and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise UsageError(
            f"{path.name}: {'; '.join(problems[:_MOST_SHOWN])}{more}",
            fix="An answer is real or synthetic, a confidence 1 to 5 or nothing, a case stands once.",
        )
    return ReaderAnswers(reader, called, sure)


def _problem(case: str, answer: str, confidence: str, called: dict[int, bool], sheet: Sheet) -> str | None:
    if not case.isascii() or not case.isdigit() or not 1 <= int(case) <= sheet.cases:
        return f"there is no case {case[:20]!r}"
    if answer and int(case) in called:
        return f"case {int(case)} is answered twice"
    if answer and answer not in _WORDS:
        return f"case {int(case)} is answered by {answer[:20]!r}"
    if confidence and confidence not in map(str, range(SURE[0], SURE[1] + 1)):
        return f"case {int(case)} has the confidence {confidence[:20]!r}"
    return None


def _rows(text: str) -> Sequence[list[str]]:
    """The cells of every row that is not blank, trimmed."""
    delimiter = max(",;\t", key=text.count)
    return list(_trimmed(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))


def _trimmed(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    for row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield cells


def _number(case: int) -> str:
    return f"{case:04d}"
