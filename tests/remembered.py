"""What many tests compute alike, once per process: costs of models, and rows of reference runs."""

from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


def remembering_costs(count):
    """`ditbench.models.cost.count`, once per model. Blocks of tests are counted each time."""
    costs = {}

    def remembered(block, **shape):
        if not block.__module__.startswith("ditbench."):
            return count(block, **shape)
        key = block, repr(sorted(shape.items()))
        if key not in costs:
            costs[key] = count(block, **shape)
        return costs[key]

    return remembered


def remembering_rows(read_run):
    """`read_run` of `ditbench.report.reading.run`, once per run in results/reference."""
    runs = {}

    def remembered(run):
        if REFERENCE not in run.path.absolute().parents:
            return read_run(run)
        key = run.path.absolute(), str(run.path)
        if key not in runs:
            runs[key] = read_run(run)
        return [dict(row) for row in runs[key]]

    return remembered
