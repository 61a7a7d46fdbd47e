"""`ditbench report`: everything about a comparison in one HTML file."""

from pathlib import Path
from typing import Annotated

from ditbench.cli.options.common import Runs, option
from ditbench.cli.output.printing import echo_path, emit_text
from ditbench.errors import DitbenchError


def report(
    runs: Runs,
    baseline: Annotated[str | None, option("NAME",
        "The block that ratios refer to. Default: in-context, if it was run.")] = None,
    output: Annotated[Path, option("FILE", "The file to write.", "--output", "-o")] = Path(
        "report.html"
    ),
) -> None:  # fmt: skip
    """Write an HTML page of the comparison: verdict, ranking, figures, samples, how to repeat it.

    It is one file, which opens offline and prints.
    """
    from ditbench.report.html.page import report_html

    if output.suffix.lower() not in (".html", ".htm", ""):
        what = f"{output} would be an HTML page"
        raise DitbenchError(what, "end -o with .html; a browser prints it as PDF")
    emit_text(report_html(runs.load(), baseline), output)
    echo_path(output)
