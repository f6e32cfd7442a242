"""Charts of the site: SVG text made at build time, the same bytes for the same numbers."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from valuedrift.suite.records import STANCES

COLOURS = {"support": "#0072b2", "neutral": "#767676", "oppose": "#d55e00"}
"""Okabe-Ito blue and vermilion with a grey between: told apart with every common colour blindness."""
DASHES = {"support": [1, 0], "neutral": [6, 3], "oppose": [2, 2]}
"""Dash patterns, so that the lines can be told apart without colour too."""
INK, GRID, SHADE = "#222222", "#dddddd", "#888888"
"""Colours that the style sheet replaces in dark mode; it finds them by these values."""
FONT_SIZE = 12
STAGE_GAP = 0.6
"""Free space between two stages, in checkpoints."""
INTERVALS_WIDTH = 460
"""Width of the plot of intervals in pixels."""
LARGE, SMALL = (840, 300), (290, 150)
"""Width and height of the plots in pixels."""

Bands = Mapping[str, Sequence[Sequence[float]]]
"""By stance: [mean, low, high] at every checkpoint."""


@dataclass(frozen=True, slots=True)
class StageAxis:
    """Checkpoints in order, with a gap between stages."""

    places: tuple[float, ...]
    """Horizontal place of each checkpoint."""
    steps: tuple[int, ...]
    """Step of each checkpoint within its stage."""
    stages: tuple[tuple[str, float, float], ...]
    """Name, left and right end of each stage."""

    @classmethod
    def of(cls, checkpoints: Sequence[Mapping[str, Any]]) -> StageAxis:
        """Return the axis of the checkpoints of a drift file."""
        places: list[float] = []
        stages: list[tuple[str, float, float]] = []
        for position, point in enumerate(checkpoints):
            new = position == 0 or point["stage"] != checkpoints[position - 1]["stage"]
            gap = 1 + STAGE_GAP if new else 1.0
            at = round(places[-1] + gap, 6) if places else 0.0
            places.append(at)
            left = at - 0.5 if new else stages.pop()[1]
            stages.append((point["stage"], left, at + 0.5))
        return cls(tuple(places), tuple(point["step"] for point in checkpoints), tuple(stages))

    @property
    def ends(self) -> list[int]:
        """Return the positions of the first checkpoint and of the last one of each stage."""
        last = [max(n for n, at in enumerate(self.places) if at < right) for _, _, right in self.stages]
        return sorted({0, *last})


def limits(parts: Sequence[Bands]) -> tuple[float, float]:
    """Return the range of probabilities that shows all bands, within 0 and 1."""
    numbers = [value for bands in parts for rows in bands.values() for row in rows for value in row]
    low, high = max(0.0, min(numbers)), min(1.0, max(numbers))
    if high <= low:
        return 0.0, 1.0
    pad = 0.04 * (high - low)
    return max(0.0, low - pad), min(1.0, high + pad)


def trajectory_chart(
    axis: StageAxis, size: tuple[int, int], domain: tuple[float, float]
) -> Callable[[Bands, str, str, str], str]:
    """Return what draws stances over checkpoints as SVG, given the bands, an id, a title and a description.

    The chart is compiled once and drawn for many parts: all of them share axis, size and domain.
    """
    import altair as alt

    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[axis.places[0] - 0.5, axis.places[-1] + 0.5], nice=False),
        axis=_step_axis(alt, axis, size),
    )
    scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    y_axis = alt.Axis(tickCount=5 if size == LARGE else 3, format=".2f", titlePadding=8)
    colour = alt.Color(
        "stance:N", scale=alt.Scale(domain=list(STANCES), range=list(COLOURS.values())), legend=None
    )
    dash = alt.StrokeDash(
        "stance:N", scale=alt.Scale(domain=list(STANCES), range=list(DASHES.values())), legend=None
    )
    shape = alt.Shape(
        "stance:N",
        scale=alt.Scale(domain=list(STANCES), range=["circle", "square", "triangle-up"]),
        legend=None,
    )
    base = alt.Chart(alt.NamedData(name="bands")).encode(x=x, color=colour)
    mean = alt.Y("mean:Q", scale=scale, axis=y_axis, title="probability")
    layers = [
        *_stage_layers(alt, axis, size),
        base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=mean, strokeDash=dash),
    ]
    if size == LARGE:
        layers.append(base.mark_point(filled=True, size=34, opacity=1).encode(y=mean, shape=shape))
    chart = alt.layer(*layers).properties(width=size[0], height=size[1])
    compiled = _compiled(chart)

    def draw(bands: Bands, name: str, title: str, description: str) -> str:
        return _svg(compiled, list(_band_rows(axis, bands, domain)), (name, title, description))

    return draw


def interval_chart(
    rows: Sequence[Mapping[str, Any]], detectable: float | None, texts: tuple[str, str, str]
) -> str:
    """Return SVG of estimates with intervals, one line each, in the given order.

    Each row has `label` and `rank` (texts), `value`, `low` and `high` (numbers or None); `texts` are the id,
    the title and the description.
    """
    import altair as alt

    numbers = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    top, bottom = max([*numbers, detectable or 0.0, 0.0]), min([*numbers, 0.0])
    pad = 0.05 * ((top - bottom) or 1)
    x = alt.X(
        "value:Q", scale=alt.Scale(domain=[bottom - pad, top + pad], nice=False), title="D", axis=_axis(alt)
    )
    y = alt.Y("line:Q", scale=alt.Scale(domain=[-0.5, len(rows) - 0.5], reverse=True, nice=False), axis=None)
    base = alt.Chart(alt.NamedData(name="bands")).encode(y=y)
    marks = [(0.0, [1, 0])] + ([(detectable, [4, 3])] if detectable else [])
    rules = [
        alt.Chart(alt.Data(values=[{"value": at}]))
        .mark_rule(color=SHADE, strokeDash=dash)
        .encode(x=alt.X("value:Q"))
        for at, dash in marks
    ]
    layers = [
        *rules,
        base.mark_rule(color=COLOURS["support"], strokeWidth=3, opacity=0.5).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=60, color=COLOURS["support"], opacity=1).encode(x=x),
        base.mark_text(align="right", baseline="middle").encode(x=alt.value(-10), text="label:N"),
        base.mark_text(align="left", baseline="middle").encode(
            x=alt.value(INTERVALS_WIDTH + 10), text="rank:N"
        ),
    ]
    compiled = _compiled(alt.layer(*layers).properties(width=INTERVALS_WIDTH, height=24 * len(rows)))
    values = [{**row, "line": line} for line, row in enumerate(rows) if row["value"] is not None]
    return _svg(compiled, values, texts)


def _step_axis(alt: Any, axis: StageAxis, size: tuple[int, int]) -> Any:
    chosen = list(range(len(axis.places))) if size == LARGE else axis.ends
    places = [axis.places[n] for n in chosen]
    # Only numbers enter the expression: names from files never do.
    expression = f"{[axis.steps[n] for n in chosen]}[indexof({places}, datum.value)]"
    return alt.Axis(
        values=places, labelExpr=expression, labelOverlap="greedy", grid=False, title="step within the stage"
    )


def _axis(alt: Any) -> Any:
    return alt.Axis(tickCount=6, format=".2f", titleAnchor="middle")


def _stage_layers(alt: Any, axis: StageAxis, size: tuple[int, int]) -> list[Any]:
    per_place = size[0] / (axis.places[-1] + 1)
    stages = [
        {"x": left, "right": right, "name": _shortened(name, int((right - left) * per_place / 7))}
        for name, left, right in axis.stages
    ]
    base = alt.Chart(alt.Data(values=stages))
    return [
        base.mark_rect(color=SHADE, opacity=0.1).encode(x="x:Q", x2="right:Q"),
        base.mark_text(align="left", baseline="bottom", dy=-3, dx=1, fontWeight="bold").encode(
            x="x:Q", y=alt.value(0), text="name:N"
        ),
    ]


def _band_rows(axis: StageAxis, bands: Bands, domain: tuple[float, float]) -> Iterator[dict[str, Any]]:
    for stance in STANCES:
        for at, row in zip(axis.places, bands[stance], strict=True):
            mean, low, high = (min(max(value, domain[0]), domain[1]) for value in row)
            yield {"x": at, "stance": stance, "mean": mean, "low": low, "high": high}


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"


def _compiled(chart: Any) -> dict[str, Any]:
    import vl_convert

    text = {"labelFontSize": FONT_SIZE, "titleFontSize": FONT_SIZE, "labelColor": INK, "titleColor": INK}
    lines = {"gridColor": GRID, "tickColor": SHADE, "domainColor": SHADE, "titleFontWeight": "normal"}
    configured = chart.configure(aria=False, background="transparent").configure_axis(**text, **lines)
    configured = configured.configure_text(fontSize=FONT_SIZE, color=INK).configure_view(stroke=None)
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(configured.to_dict())
    return vega


def _svg(compiled: dict[str, Any], rows: list[dict[str, Any]], texts: tuple[str, str, str]) -> str:
    import vl_convert

    vega = copy.deepcopy(compiled)
    for data in vega["data"]:
        if data["name"] == "bands":
            data["values"] = rows
    drawn: str = vl_convert.vega_to_svg(vega, allowed_base_urls=[])
    name, title, description = texts
    head = re.match(r"<svg[^>]*>", drawn)
    if head is None:
        raise ValueError("vl-convert returned no SVG")
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', head[0])
    width, height = (size[1], size[2]) if size else ("0", "0")
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
    )
    return start + drawn[head.end() :]
