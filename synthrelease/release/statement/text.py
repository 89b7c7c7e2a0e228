"""The statement as plain text: for a privacy officer, a contract's annex, the first page of a pack."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill

from synthrelease.release.statement import words
from synthrelease.release.statement.facts import Guarantee, Product, Statement

WIDTH = 100


def statement_text(statement: Statement) -> str:
    """The whole statement, wrapped, with a newline at its end."""
    guarantee = statement.guarantee
    body = _without(statement) if guarantee is None else _with(statement, guarantee)
    title = "Differential privacy statement" if guarantee else "Privacy statement: no differential privacy"
    head = [title, "=" * len(title), "", _paragraph(words.origin(statement))]
    if statement.product.simulated:
        head += ["", _paragraph("The cohort is simulated: no person stands behind its patients.")]
    return "\n".join([*head, *_product(statement.product), *body]) + "\n"


def _product(product: Product) -> list[str]:
    masks = f", masks {', '.join(product.segments)}" if product.segments else ""
    return _section(
        "What was made",
        bullets=(
            f"{product.images} synthetic {product.content}; classes {', '.join(product.classes)}{masks}; generator "
            f"{product.generator}.",
            f"For: {product.purpose}",
            f"From: the cohort {product.cohort}; custodian {product.curator}.",
            f"Sharing: {words.people(product)}. Contact: {product.contact}.",
        ),
    )


def _with(statement: Statement, guarantee: Guarantee) -> list[str]:
    scope = statement.scope
    weakened = (
        _section("Rules that the policy gave up (privacy.strict: false)", bullets=guarantee.weakened_by)
        if guarantee.weakened_by
        else []
    )
    return [
        *_section(
            "The guarantee",
            f"The synthetic archive of this run comes from a mechanism that is ({words.parameters(guarantee)})-differentially "
            f"private for the addition or removal of all images, masks, labels and header fields of any one {guarantee.unit} "
            f"({statement.product.identity}).",
        ),
        *weakened,
        *_section("It covers", bullets=scope.covers),
        *_section("It does not cover", bullets=scope.does_not_cover),
        *_section(
            "What it means for one person",
            "Bounds against the worst attacker, who knows every other patient, the method, and everything released:",
            bullets=words.bounds(guarantee),
        ),
        "",
        _paragraph(guarantee.strength),
        *_section("How the figure was computed", words.accounting(guarantee), bullets=words.mechanism_line(guarantee)),
        *_section(
            "How it was made",
            bullets=(
                f"Executed of planned uses: {words.executed(guarantee)}.",
                f"Trust: {scope.trust}.",
                f"Sampling: {scope.sampling}.",
                f"Noise: {scope.noise}.",
                f"Floating point: {scope.floating_point}.",
                f"Hyper-parameters: {scope.tuning}.",
            ),
        ),
        *_section("All runs on the cohort", bullets=words.spending(statement.spending)),
        *_section(
            "For comparison",
            "Published deployments in health. Units, adjacency and models differ, so the figures do not rank them:",
            bullets=(
                f"{p.name} ({p.by}, {p.year}): epsilon {p.epsilon:g}"
                + (f" at delta {p.delta:g}" if p.delta is not None else "")
                + f" for {p.unit}; {p.remark}"
                for p in statement.precedents
            ),
        ),
    ]


def _without(statement: Statement) -> list[str]:
    return [
        *_section(
            "There is no guarantee",
            "The generator was trained without differential privacy. Nothing bounds what the archive, or anything else made "
            "from this run, tells of one patient: no epsilon can be stated for it. Only an empirical audit speaks to that, "
            "for the attacks that it tries.",
        ),
        *_section("All runs on the cohort", bullets=words.spending(statement.spending)),
    ]


def _section(title: str, *paragraphs: str, bullets: Iterable[str] = ()) -> list[str]:
    lines = ["", title, "-" * len(title)]
    lines += [_paragraph(text) for text in paragraphs]
    lines += [_paragraph(text, first="- ", rest="  ") for text in bullets]
    return lines


def _paragraph(text: str, *, first: str = "", rest: str = "") -> str:
    # A figure and its percent sign stay on one line; the wrapper breaks at plain spaces only.
    text = text.replace(" %", "\u00a0%")
    wrapped = fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return wrapped.replace("\u00a0", " ")
