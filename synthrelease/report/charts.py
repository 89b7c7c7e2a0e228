"""Charts drawn by hand as inline SVG: sharp in print, readable by a screen reader, no library, no network."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_BAR = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
_LINE = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
_TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
_DOT = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>')


def _svg(width: float, height: float, title: str, parts: Sequence[Markup], style: str = "chart") -> Markup:
    body = Markup("").join(parts)
    frame = Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}"><title>{}</title>{}</svg>')
    return frame.format(style, width, height, title, title, body)


def interval_strip(
    low: float | None,
    value: float | None,
    high: float | None,
    threshold: float | None,
    baseline: float | None,
    title: str,
) -> Markup:
    """One number on a line: interval as a bar, value as a dot, threshold as a tall line, baseline as a hollow mark."""
    points = [x for x in (low, value, high, threshold, baseline) if x is not None]
    if (value is None and low is None and high is None) or len(points) < 2:
        return Markup("")
    start, end = min(points), max(points)
    pad = (end - start) * 0.12 or abs(end) * 0.12 or 1.0

    def at(x: float) -> float:
        return 4 + 172 * (x - start + pad) / (end - start + 2 * pad)

    parts = [_LINE.format("axis", 4, 14, 176, 14)]
    if low is not None and high is not None:
        parts.append(_BAR.format("span", at(low), 10.5, max(at(high) - at(low), 1), 7))
    if threshold is not None:
        parts.append(_LINE.format("threshold", at(threshold), 2, at(threshold), 26))
    if baseline is not None:
        parts.append(_DOT.format("baseline", at(baseline), 14, 4, "baseline"))
    if value is not None:
        parts.append(_DOT.format("value", at(value), 14, 3.5, "value"))
    return _svg(180, 28, title, parts, "strip")


def attack_bound(points: Sequence[tuple[float, float]], labels: Sequence[tuple[str, str]]) -> Markup:
    """Share of members that the best attack may name (bar) at each false positive rate, beside blind guessing (line).

    Args:
        points: (FPR, most TPR) pairs, both in [0, 1].
        labels: The same two numbers as text.
    """
    width, left, top, step = 640.0, 190.0, 26.0, 30.0
    height = top + step * len(points) + 24
    scale = width - left - 80
    parts = [_TEXT.format("note", left, 14, "start", "Most members that any attack may rightly name")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * scale
        parts.append(_LINE.format("grid", x, top - 4, x, height - 20))
        parts.append(_TEXT.format("tick", x, height - 6, "middle", f"{share:.0%}"))
    for index, ((fpr, tpr), (fpr_text, tpr_text)) in enumerate(zip(points, labels, strict=True)):
        y = top + index * step
        parts.append(_TEXT.format("label", left - 8, y + 14, "end", f"{fpr_text} wrongly accused"))
        parts.append(_BAR.format("bound", left, y + 2, max(tpr * scale, 1), 16))
        parts.append(_LINE.format("chance", left + fpr * scale, y - 2, left + fpr * scale, y + 22))
        parts.append(_TEXT.format("label strong", left + tpr * scale + 6, y + 14, "start", tpr_text))
    return _svg(width, height, "Attack bound: most members rightly named at each rate of wrong accusations", parts)


def shares(rows: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """Named bars: (name, share of the longest bar in [0, 1], text)."""
    parts: list[Markup] = []
    for index, (name, share, text) in enumerate(rows):
        y = 4 + index * 26
        parts.append(_TEXT.format("label", 132, y + 14, "end", _short(name, 20)))
        parts.append(_BAR.format("share", 140, y + 1, max(share * 380, 1), 17))
        parts.append(_TEXT.format("label", 146 + share * 380, y + 14, "start", text))
    return _svg(640, 8 + 26 * len(rows), title, parts)


def likeness(pairs: Sequence[tuple[float, float, bool, str]]) -> Markup:
    """Each look-alike by its likeness to holdout (across) and to training (up); above the diagonal: nearer to training.

    Args:
        pairs: Similarity to holdout, similarity to training, whether it is a control, name.
    """
    values = [x for pair in pairs for x in pair[:2]]
    start, end = min(values), max(values)
    pad = (end - start) * 0.06 or 0.05
    start, end = start - pad, end + pad

    def across(x: float) -> float:
        return 62 + 320 * (x - start) / (end - start)

    def up(x: float) -> float:
        return 330 - 310 * (x - start) / (end - start)

    parts = [_LINE.format("diagonal", across(start), up(start), across(end), up(end))]
    for step in range(5):
        x = start + (end - start) * step / 4
        parts.append(_LINE.format("grid", across(x), up(start), across(x), up(end)))
        parts.append(_LINE.format("grid", across(start), up(x), across(end), up(x)))
        parts.append(_TEXT.format("tick", across(x), 346, "middle", f"{x:.2f}"))
        parts.append(_TEXT.format("tick", 56, up(x) + 4, "end", f"{x:.2f}"))
    for holdout, train, control, name in pairs:
        if control:
            mark = Markup('<rect class="control" x="{:.1f}" y="{:.1f}" width="8" height="8"><title>{}</title></rect>')
            parts.append(mark.format(across(holdout) - 4, up(train) - 4, name))
        else:
            parts.append(_DOT.format("pair", across(holdout), up(train), 4.5, name))
    parts.append(_TEXT.format("note", 222, 366, "middle", "likeness to the nearest held-out image"))
    parts.append(_TEXT.format("note", 62, 12, "start", "likeness to the nearest training image"))
    parts.append(Markup('<circle class="pair" cx="420" cy="60" r="4.5"/>'))
    parts.append(_TEXT.format("label", 432, 64, "start", "synthetic image"))
    parts.append(Markup('<rect class="control" x="416" y="80" width="8" height="8"/>'))
    parts.append(_TEXT.format("label", 432, 88, "start", "control: two real patients"))
    parts.append(_TEXT.format("note", 416, 120, "start", "Above the line: nearer to training"))
    parts.append(_TEXT.format("note", 416, 136, "start", "than to patients never seen."))
    return _svg(640, 374, "Likeness of each look-alike to training and to held-out images", parts)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
