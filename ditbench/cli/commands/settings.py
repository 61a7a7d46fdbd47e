"""`ditbench settings`: every key of the configuration, its type, default and meaning."""

from __future__ import annotations

import textwrap
from typing import Annotated

from ditbench.cli.options.common import Table, argument
from ditbench.cli.options.completion import complete_keys
from ditbench.cli.output.printing import echo
from ditbench.report.tables.columns import Column

COLUMNS = (
    Column("key", "Key"),
    Column("type", "Type"),
    Column("default", "Default"),
    Column("meaning", "Meaning"),
)
WIDTH = 80


def settings(
    key: Annotated[str | None, argument("KEY",
        "Only this key, or the keys of this section: train.lr, train.", complete_keys)] = None,
    *, table: Table,
) -> None:  # fmt: skip
    """List every setting: its type, its default and what it means.

    `--set KEY=VALUE` sets one for a command, a file of `--config` or ./ditbench.toml several.
    Defaults are those without a preset; presets set some of them.
    """
    from ditbench.config.describe import settings as find

    found = find(key)
    if table.chosen != "rich":
        table.write([each._asdict() for each in found], COLUMNS)
        return
    wrap = textwrap.TextWrapper(
        WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False
    )
    for each in found:
        echo(f"{each.key} = {each.default}  ({each.type})")
        for line in wrap.wrap(each.meaning):
            echo(line)
