"""`ditbench features`: list the feature extractors, and whether their weights are there."""

from typing import Annotated, Any

from ditbench.cli.options.common import Table, argument
from ditbench.cli.output.meter import one_by_one
from ditbench.cli.output.printing import echo
from ditbench.errors import DitbenchError, one_line, printable
from ditbench.report.tables.columns import Column, hidden

COLUMNS = (
    Column("features", "Features"),
    Column("input", "Input"),
    Column("dimension", "Dimension", "{:d}".format),
    Column("classes", "Classes", "{:d}".format),
    Column("weights", "Weights"),
    Column("digest", "Digest", lambda digest: digest[:8]),
    *hidden("path", "help"),
)


def features(
    name: Annotated[str | None, argument("NAME", "Only this one.")] = None,
    *, table: Table,
) -> None:  # fmt: skip
    """List the feature extractors of the metrics: what they accept, where their weights are.

    `--features NAME` chooses one for a run, `--set metrics.also=NAME,NAME` further ones in which
    the same samples are scored. `ditbench features NAME` prints where the weights of one are, or
    how to get them.
    """
    from ditbench.metrics import extractor_names

    with one_by_one("features", [name] if name else extractor_names()) as names:
        rows = [_row(each) for each in names]
    table.write(rows, COLUMNS)
    if table.chosen != "rich":
        return
    if name:
        echo(one_line(rows[0]["help"] or rows[0]["path"] or "no weights are needed"))
    elif any(row["help"] for row in rows):
        echo("`ditbench features NAME` shows how to get missing weights", err=True)


def _row(name: str) -> dict[str, Any]:
    """The facts of an extractor; its weights are loaded, if they are there, for the digest."""
    from ditbench.metrics import extractor_class

    kind = extractor_class(name)
    weights, digest = "missing", None
    if not kind.files():
        weights, digest = "none", kind().digest
    elif all(file.exists() for file in kind.files()):
        try:
            weights, digest = "found", kind().digest
        except DitbenchError:
            weights = "damaged"
    return {
        "features": name, "input": kind.accepts, "dimension": kind.num_features,
        "classes": kind.num_classes, "weights": weights, "digest": digest,
        "path": printable(str(kind.weights_file())) if kind.files() else None,
        "help": None if digest else kind.weights_hint(),
    }  # fmt: skip
