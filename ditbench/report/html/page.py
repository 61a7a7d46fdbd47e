"""The page of `ditbench report`: what it shows of each comparison, put into its template."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ditbench import __version__
from ditbench.distances import title_of
from ditbench.errors import DitbenchError, printable_lines
from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.samples import strips_of
from ditbench.report.figures.style import block_styles
from ditbench.report.html import svg
from ditbench.report.html.forest import Forest, forest
from ditbench.report.html.origin import Origin, origin
from ditbench.report.html.pictures import Picture, pictures
from ditbench.report.reading.groups import Group, groups_of
from ditbench.report.statistics.compare import Comparison, compare_groups
from ditbench.report.tables.columns import Column, comparison_columns, comparison_rows
from ditbench.report.tables.render import cells, shown

# The groups with most runs are shown with figures and samples, the others as tables.
MOST_WHOLE = 3


class Table(NamedTuple):
    """A table as texts: headers, and rows of a block and its cells, each with its mark as best."""

    columns: list[Column]
    rows: list[tuple[str, list[tuple[str, bool]]]]


@dataclass(frozen=True)
class Part:
    """What the page shows of one comparison; what is missing is None or empty."""

    anchor: str  # its id in the page
    comparison: Comparison
    runs: pd.DataFrame  # one row per run
    ranking: Table
    further: Table
    forest: Forest | None
    is_whole: bool  # whether it has figures, samples and origin
    curve: Markup | None = None
    cost: Markup | None = None
    samples_title: str = ""
    samples: Sequence[Picture] = ()
    origin: Origin | None = None

    @property
    def fid(self) -> str:
        """What the distance is called: latents have no FID."""
        return title_of("fid", self.comparison.group.get("features"))


def report_html(df: pd.DataFrame, baseline: str | None = None) -> str:
    """The report of all groups of comparable runs in `df`, the result of `load_results`.

    The group with most runs comes first. A DitbenchError for an unknown baseline, or no runs.
    """
    found = list(zip(compare_groups(df, baseline), groups_of(df), strict=True))
    found.sort(key=lambda each: -each[1].runs["path"].nunique())
    parts = [
        _part(f"g{number}", comparison, group, is_whole=number <= MOST_WHOLE)
        for number, (comparison, group) in enumerate(found, 1)
    ]
    styles = {name: style.colour[1:].lower() for name, style in block_styles(df["block"]).items()}
    figures = "".join(figure for part in parts for figure in (part.curve, part.cost) if figure)
    used = sorted({*svg.colours_in(figures), *styles.values()})
    place = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(place), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_visible,
    )  # fmt: skip
    environment.filters.update(prose=_prose, verdict=_verdict, header=_header)
    text = environment.get_template("page.html.j2").render(
        parts=parts,
        skipped=df.attrs.get("skipped", []),
        runs=df["path"].nunique(),
        css=Markup((place / "page.css").read_text("utf-8")),
        palette=[(colour, svg.dark_twin(colour)) for colour in used],
        colours=styles,
        version=__version__,
    )
    # Names may not be UTF-8.
    return text.lstrip().encode(errors="backslashreplace").decode() + "\n"


def _part(anchor: str, comparison: Comparison, group: Group, *, is_whole: bool) -> Part:
    rows = comparison_rows(comparison)
    first = shown(comparison_columns(comparison))
    ranked = {each.name for each in first}
    others = [e for e in comparison_columns(comparison, wide=True) if e.name not in ranked]
    final = group.runs[group.runs["final"]]
    part = Part(
        anchor, comparison, final.sort_values(["block", "seed"]), _table(rows, first),
        _table(rows, [first[0], *others]), forest(comparison.verdict), is_whole,
    )  # fmt: skip
    if not is_whole:
        return part
    has_curve = bool(group.runs["curve"].any())
    title, images = _samples(group)

    def draw(figure: Callable[[pd.DataFrame], Figure], label: str) -> Markup:
        return svg.inline_svg(partial(figure, group.runs), label, f"{anchor} {label}")

    return replace(
        part,
        curve=draw(curve_figure, f"{part.fid} along training") if has_curve else None,
        cost=draw(pareto_figure, f"{part.fid} against cost"),
        samples_title=title,
        samples=images,
        origin=origin(final),
    )


def _samples(group: Group) -> tuple[str, list[Picture]]:
    """The samples of a group, with what they are of; or none, and why if grids are damaged."""
    try:
        title, strips = strips_of(group) or ("", {})
    except DitbenchError as error:
        return error.message, []
    return title.replace("\n", " "), pictures(strips)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> Table:
    """The shown columns in which some row has a value."""
    kept = [each for each in shown(columns) if any(c[0][0] != "–" for c in cells(rows, [each]))]
    blocks = (str(row["block"]) for row in rows)
    return Table(kept, list(zip(blocks, cells(rows, kept), strict=True)))


def _visible(value: Any) -> Any:
    """What `{{ }}` writes: texts without hidden characters, and what is markup already."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable_lines(value) if is_text else value


def _prose(text: str) -> Markup:
    """A sentence with its commands, between backticks, as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_visible(text)))))


def _verdict(sentence: str) -> Markup:
    """A verdict, with what it rests on, in the brackets at its end, set apart."""
    return Markup(re.sub(r" (\([^()]*\))\.$", r" <small>\1</small>", str(_prose(sentence))))


def _header(text: str) -> Markup:
    """A table's header, whose arrow stays on the line of the word before it."""
    return Markup(re.sub(" (?=[↓↑]$)", "&nbsp;", str(escape(_visible(text)))))
