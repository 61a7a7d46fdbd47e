"""`ditbench features`: list the feature extractors, and whether their weights are there."""

from typing import Any

from ditbench.cli.options import AsJson, Format, Output, chosen_format
from ditbench.cli.output import echo, emit
from ditbench.errors import DitbenchError, one_line, printable
from ditbench.report.tables.columns import Column

COLUMNS = (
    Column("features", "Features"),
    Column("input", "Input"),
    Column("dimension", "Dimension", "{:d}".format),
    Column("classes", "Classes", "{:d}".format),
    Column("weights", "Weights"),
    Column("digest", "Digest", lambda digest: digest[:8]),
    Column("path", "Path"),
    Column("help", None),
)


def features(
    format: Format = None,  # noqa: A002
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """List the feature extractors of the metrics: what they accept, where their weights are.

    `--features NAME` chooses one for a run, `--set metrics.also=NAME,NAME` further ones in which
    the same samples are scored. Below the table: how to get what is missing.
    """
    chosen = chosen_format(output, format, as_json=as_json)

    from ditbench.metrics import extractor_names

    rows = [_row(name) for name in extractor_names()]
    emit(rows, COLUMNS, chosen, output)
    for row in rows:
        if row["help"]:
            echo(one_line(f"{row['features']}: {row['help']}"), err=True)


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
