"""Models of different widths that are of equal size, and may be ranked together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.models.sizes import TOLERANCE, parse_model
from ditbench.report.facts import ALIKE
from ditbench.report.remark_words import SIZES

if TYPE_CHECKING:
    import pandas as pd


def equal_size(df: pd.DataFrame) -> str | None:
    """In what models agree that differ in their width only: parameters or multiply-accumulates.

    They agree if one of them is within `TOLERANCE` of all others. None if all have the same width,
    if a block has several, or if they do not agree.
    """
    several = df["model"].nunique() > 1 and df["model"].map(_depth_and_patch).nunique() == 1
    if not several or df.groupby("block")["model"].nunique().max() > 1:
        return None
    for column, name in SIZES.items():
        if any(len(_near(df, column, value)) == len(df) for value in df[column].unique()):
            return name
    return None


def sets_of_equal_size(df: pd.DataFrame) -> list[pd.DataFrame]:
    """The largest sets of runs of equal size that differ in width and may differ in block."""
    found: list[pd.DataFrame] = []
    alike = [*(key for key in ALIKE if key != "model"), "recipe"]
    depths = df["model"].map(_depth_and_patch).to_numpy()  # labels of rows may be given twice
    for _, runs in df.groupby([*alike, depths], sort=False, dropna=False):
        if runs["model"].nunique() < 2:
            continue
        near = [_near(runs, column, each) for column in SIZES for each in runs[column].unique()]
        for part in sorted(filter(equal_size, near), key=len, reverse=True):
            if not any(set(part["path"]) <= set(other["path"]) for other in found):
                found.append(part)
    return found


def _near(df: pd.DataFrame, column: str, value: float) -> pd.DataFrame:
    return df[(df[column] - value).abs() <= TOLERANCE * value]


def _depth_and_patch(model: str) -> str:
    """What models of different widths must agree in."""
    try:
        size = parse_model(model)
    except DitbenchError:  # of another version
        return model
    return f"{size.depth} /{size.patch_size}"
