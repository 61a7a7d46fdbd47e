"""Comparisons as text, in every format: heading, verdict, table and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ditbench.report.tables.columns import comparison_columns, comparison_rows, hidden
from ditbench.report.tables.render import (
    escape_latex,
    escape_markdown,
    json_text,
    literal,
    plain,
    plain_rows,
    render,
    shown,
)

if TYPE_CHECKING:
    from ditbench.report.statistics.compare import Comparison
    from ditbench.report.statistics.verdict import Rival

# Of the JSON; 1 was a list of rows.
SCHEMA = 2


def render_comparisons(
    comparisons: Sequence[Comparison],
    format: str,  # noqa: A002
    names: Sequence[str] = (),
    *,
    wide: bool = False,
) -> str:
    """Comparisons as text: one table in CSV, one per group elsewhere.

    CSV and JSON hold everything, Markdown and LaTeX the columns of `comparison_columns`.
    """
    if format == "json":
        groups = [_json_group(comparison) for comparison in comparisons]
        return json_text({"schema": SCHEMA, "groups": groups})
    if format == "csv":
        return _csv_of_groups(comparisons)
    parts = []
    for comparison in comparisons:
        columns = comparison_columns(comparison, names, wide=wide)
        table = render(comparison_rows(comparison), columns, format)
        if format == "latex":
            parts.append(_latex_group(comparison, table, len(shown(columns))))
        else:
            parts.append(_markdown_group(comparison, table))
    return "\n".join(parts)


def _texts(comparison: Comparison) -> list[str]:
    """What stands around a table: the heading, the verdict, and the notes."""
    settings = [comparison.settings] if comparison.apart else []
    texts = (comparison.heading, comparison.sentence, *comparison.notes, *settings)
    return list(map(literal, texts))


def _markdown_group(comparison: Comparison, table: str) -> str:
    title, answer, *notes = map(escape_markdown, _texts(comparison))
    lines = "".join(f"- {text}\n" for text in notes)
    return f"**{title}**\n\n**{answer}**\n\n{table}\n{lines}"


def _latex_group(comparison: Comparison, table: str, columns: int) -> str:
    """A table with all texts as comments: a paper has a caption of its own."""
    if comparison.forced:
        mark = escape_latex(f"Forced: runs differ in {', '.join(comparison.forced)}")
        row = rf"\multicolumn{{{columns}}}{{l}}{{{mark}}} \\"
        table = table.replace(r"\end{tabular}", f"{row}\n\\end{{tabular}}")
    heading, sentence, *below = (f"% {text}\n" for text in _texts(comparison))
    return "".join([heading, sentence, table, *below])


def _json_group(comparison: Comparison) -> dict[str, Any]:
    verdict = comparison.verdict
    return {
        "heading": comparison.heading,
        "verdict": {
            "leader": verdict and verdict.leader,
            "winner": verdict and verdict.winner,
            "sentence": comparison.sentence,
            "rivals": list(map(_rival, verdict.rivals)) if verdict else [],
        },
        "notes": list(comparison.notes),
        "rows": plain_rows(comparison_rows(comparison), comparison_columns(comparison)),
    }


def _rival(rival: Rival) -> dict[str, Any]:
    """A rival beside the leader: its ratio and difference with intervals, and the tests."""
    pair = rival.paired
    values = {
        "block": rival.block, "seeds": pair.n,
        "ratio": pair.ratio, "ratio_low": pair.uncorrected.low, "ratio_high": pair.uncorrected.high,
        "difference": pair.difference, "p_value": rival.p_value,
        "p_bonferroni": rival.p_bonferroni, "significant": rival.significant,
        "equivalent": pair.equivalent,
    }  # fmt: skip
    return {key: plain(value) for key, value in values.items()}


def _csv_of_groups(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for each in comparisons:
        words = {"group": each.heading, "sentence": each.sentence, "notes": " ".join(each.notes)}
        rows += [row | words for row in comparison_rows(each)]
    every = {column.name: column for each in comparisons for column in comparison_columns(each)}
    return render(rows, [*every.values(), *hidden("group", "sentence", "notes")], "csv")
