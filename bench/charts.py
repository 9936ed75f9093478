"""The pictures of the page: bars and curves as inline SVG. Pure; text in, text out.

Coordinates are those of a view box of `WIDTH` units, so that a picture grows and shrinks
with the page. A contender has the same colour in every picture. Every mark has a
``<title>``, which browsers show under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 560
_BAR, _GAP, _TOP = 20, 8, 6
_LABEL = 150
_VALUE = 90
_HEIGHT, _LEFT, _RIGHT, _BOTTOM = 300, 56, 26, 40
PALETTE = (
    "#2563a8",
    "#d9772b",
    "#2f8f5b",
    "#b8405e",
    "#7a5cb8",
    "#8a6d3b",
    "#3a9fb0",
    "#6b7280",
    "#c2a126",
    "#4d7c0f",
)

_DECADES = 10_000
"""What is less than this part of the largest value is drawn at the bottom of a logarithmic axis."""
_PALE = ' fill-opacity="0.6"'

Point = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """One bar; `low` and `high` are the spread over the rounds."""

    label: str
    value: float
    colour: str
    low: float = 0.0
    high: float = 0.0
    pale: bool = False
    """Its colour is another one's, too."""
    strong: bool = False
    """Its label stands out."""


@dataclass(frozen=True)
class Curve:
    """One line; `mark` is a point that stands out, a dashed line has a colour that another has, too."""

    label: str
    points: Sequence[Point]
    colour: str
    mark: Point | None = None
    dashed: bool = False
    strong: bool = False


def number(value: float) -> str:
    """A value as short as it is still exact enough."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def bars(values: Sequence[Bar], unit: str) -> str:
    """Horizontal bars, in the order given."""
    top = max((max(bar.value, bar.high) for bar in values), default=0.0) or 1.0
    scale = (WIDTH - _LABEL - _VALUE) / top
    height = _TOP + len(values) * (_BAR + _GAP)
    parts = [_bar(bar, number_at * (_BAR + _GAP) + _TOP, scale, unit) for number_at, bar in enumerate(values)]
    return _svg(height, "".join(parts))


def _bar(bar: Bar, y: float, scale: float, unit: str) -> str:
    length = max(bar.value * scale, 1.0)
    middle = y + _BAR / 2
    text = f"{number(bar.value)} {unit}".strip()
    title = f"<title>{escape(bar.label)}: {escape(text)}</title>"
    size = f'x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}"'
    kind = "label end strong" if bar.strong else "label end"
    parts = [
        f'<text x="{_LABEL - 8}" y="{middle}" class="{kind}">{escape(bar.label)}</text>',
        f'<rect {size} rx="2" fill="{bar.colour}"{_PALE if bar.pale else ""}>{title}</rect>',
    ]
    end = length
    if bar.high > bar.low:
        low, high = _LABEL + bar.low * scale, _LABEL + bar.high * scale
        parts.append(
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" '
            'class="spread"/>'
        )
        end = max(end, bar.high * scale)
    parts.append(f'<text x="{_LABEL + end + 6:.1f}" y="{middle}" class="label">{escape(text)}</text>')
    return "".join(parts)


@dataclass(frozen=True)
class Axis:
    """A direction: how a value becomes a place between 0 and 1, and where marks stand."""

    title: str
    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """Powers of ten (with 2 and 5 where there are few, round steps where there is none) around the values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    low = max(low, high / _DECADES)
    if high < low * 2:  # a nearly flat line is shown as one, and not as the noise on it
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(2), middle * math.sqrt(2)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    begin, end = math.log10(low) - 0.05, math.log10(high) + 0.05
    shown = [tick for tick in ticks if begin <= math.log10(tick) <= end]
    if len(shown) < 3:
        step = _round_step(high - low)
        shown = [step * times for times in range(math.ceil(low / step), int(high / step) + 1)]
    return Axis(
        title,
        lambda value: (math.log10(max(value, low)) - begin) / (end - begin),
        [(tick, number(tick)) for tick in shown],
    )


def _round_step(length: float) -> float:
    """A round number of which at most six fit into a length."""
    step = 10.0 ** math.floor(math.log10(length))
    return next(width for width in (step / 5, step / 2, step, step * 2) if length / width <= 6)


def linear_axis(title: str, values: Sequence[float]) -> Axis:
    """Round numbers from 0 to the largest value."""
    high = max(values, default=0.0) or 1.0
    step = _round_step(high)
    ticks = [(tick * step, number(tick * step)) for tick in range(int(high / step) + 1)]
    return Axis(title, lambda value: value / (high * 1.05), ticks)


def percentile_axis() -> Axis:
    """Percentiles, each nine as wide as the one before."""
    ticks = [(50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99")]

    def place(percent: float) -> float:
        return -math.log10(max(1 - percent / 100, 1e-4)) / 4

    return Axis("per cent of the requests", place, ticks)


def curves(lines: Sequence[Curve], across: Axis, upwards: Axis) -> str:
    """Lines over two axes, with a legend below."""
    inner_width, inner_height = WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - 14

    def x(value: float) -> float:
        return _LEFT + across.place(value) * inner_width

    def y(value: float) -> float:
        return 14 + (1 - upwards.place(value)) * inner_height

    bottom = 14 + inner_height
    parts = [f'<path d="M{_LEFT} 14V{bottom}H{WIDTH - _RIGHT}" class="axis"/>']
    for value, text in across.ticks:
        parts.append(f'<path d="M{x(value):.1f} 14V{bottom}" class="grid"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{bottom + 14}" class="label middle">{text}</text>')
    for value, text in upwards.ticks:
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{WIDTH - _RIGHT}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value):.1f}" class="label end">{text}</text>')
    parts.append(
        f'<text x="{WIDTH - _RIGHT}" y="{bottom + 32}" class="title end">{escape(across.title)}</text>'
    )
    parts.append(f'<text x="4" y="6" class="title">{escape(upwards.title)}</text>')
    for line in lines:
        path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line.points)
        title = f"<title>{escape(line.label)}</title>"
        kind = "curve dashed" if line.dashed else "curve"
        parts.append(f'<path d="M{path}" class="{kind}" stroke="{line.colour}">{title}</path>')
        if line.mark is not None:
            parts.append(
                f'<circle cx="{x(line.mark[0]):.1f}" cy="{y(line.mark[1]):.1f}" r="5" fill="{line.colour}">'
                f"<title>{escape(line.label)}: the knee, at {number(line.mark[0])}</title></circle>"
            )
    return _svg(_HEIGHT, "".join(parts)) + _legend(lines)


def _legend(lines: Sequence[Curve]) -> str:
    entries = "".join(
        f"<span{_class('strong', line.strong)}><i{_class('dashed', line.dashed)} "
        f'style="border-color:{line.colour}"></i>{escape(line.label)}</span>'
        for line in lines
    )
    return f'<p class="legend">{entries}</p>'


def _class(name: str, wanted: bool) -> str:
    return f' class="{name}"' if wanted else ""


def _svg(height: float, body: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{body}</svg>'
