"""Small charts as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 420, 222
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 34, 42


def bar_chart(
    labels: Sequence[str], values: Sequence[int], *, axis: str, across: str, hints: Sequence[str]
) -> Markup:
    """Upright bars with their values above them.

    Args:
        labels: Below each bar.
        values: From 0.
        axis: What the height counts.
        across: What the labels are.
        hints: Shown when the pointer rests on a bar.
    """
    top = _ceiling(max(values, default=0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    parts = [*_frame(axis, across, _ticks(top), top)]
    for n, (label, value, hint) in enumerate(zip(labels, values, hints, strict=True)):
        height = (_HEIGHT - _TOP - _BOTTOM) * value / top
        x, y = _LEFT + n * step, _HEIGHT - _BOTTOM - height
        parts.append(
            Markup(
                '<g><title>{}</title><rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/>'
            ).format(hint, x + step * 0.12, y, step * 0.76, height)
        )
        if value:
            parts.append(_text(x + step / 2, y - 4, _short(value), "value"))
        parts.append(Markup("</g>"))
        parts.append(_text(x + step / 2, _HEIGHT - _BOTTOM + 14, label, "label"))
    return _svg(parts, f"{axis} by {across}")


def curve_chart(values: Sequence[float], *, axis: str, across: str) -> Markup:
    """A curve through shares in [0, 1] at 1, 2, 3 and so on, each with its value."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    deep = _HEIGHT - _TOP - _BOTTOM
    points = [
        (_LEFT + (n + 0.5) * step, _TOP + deep * (1 - value)) for n, value in enumerate(values)
    ]
    parts = [*_frame(axis, across, [0, 0.5, 1], 1)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor = _HEIGHT - _BOTTOM
    if points:
        area = f"{points[0][0]:.1f},{floor} {line} {points[-1][0]:.1f},{floor}"
        parts.append(Markup('<polygon class="area" points="{}"/>').format(area))
        parts.append(Markup('<polyline class="curve" points="{}"/>').format(line))
    for n, ((x, y), value) in enumerate(zip(points, values, strict=True), 1):
        parts.append(
            Markup(
                '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3"><title>place {}: {}</title></circle>'
            ).format(x, y, n, f"{value:.3f}")
        )
        # To the right of the dot, off the falling line.
        parts.append(_text(x + 9, y - 6, f"{value:.2f}", "value"))
        parts.append(_text(x, floor + 14, str(n), "label"))
    return _svg(parts, f"{axis} by {across}")


def _frame(axis: str, across: str, ticks: Sequence[float], top: float) -> list[Markup]:
    """Lines across, their numbers, and what both axes are."""
    parts = []
    for tick in ticks:
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * tick / top
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y
            )
        )
        parts.append(_text(_LEFT - 6, y + 4, _short(tick), "tick"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, across, "axis"))
    parts.append(_text(2, 12, axis, "axis start"))
    return parts


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, _HEIGHT, label
    )
    return opening + Markup("").join(parts) + Markup("</svg>")


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        kind, x, y, escape(text)
    )


def _ceiling(most: int) -> int:
    """The next round number.

    Example:
        >>> _ceiling(0), _ceiling(7), _ceiling(431)
        (1, 8, 500)
    """
    if most <= 1:
        return 1
    unit: int = 10 ** (len(str(most)) - 1)
    return next(n * unit for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * unit >= most)


def _ticks(top: int) -> list[float]:
    """A few whole numbers from 0 to the top."""
    count = next((n for n in (4, 5, 3, 2) if top % n == 0), 1)
    return [top * n / count for n in range(count + 1)]


def _short(value: float) -> str:
    """A number that fits above a bar.

    Example:
        >>> _short(1234), _short(0.5), _short(56789)
        ('1,234', '0.5', '57k')
    """
    return (
        f"{value / 1000:.0f}k"
        if value >= 10_000
        else f"{value:,g}"
        if value < 1000
        else f"{value:,.0f}"
    )
