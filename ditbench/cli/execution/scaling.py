"""`ditbench bench --gpus`: the speed of training on several GPUs, against one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.amounts import counted, decimals, significant
from ditbench.cli.execution.gpus import check_gpus
from ditbench.cli.options.common import Table
from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.sizes import Size
from ditbench.cli.output.printing import note, progress
from ditbench.errors import DitbenchError, unknown_name
from ditbench.plugins.lookup import check_options
from ditbench.report.tables.columns import Column, hidden

if TYPE_CHECKING:
    from ditbench.bench.timing import Length

    Facts = dict[str, Any]

# What `--scaling` keeps: the batch per GPU, or the global batch.
SCALINGS = {"weak": ("weak",), "strong": ("strong",), "both": ("weak", "strong")}

_whole, _percent = decimals(0), "{:.1%}".format
# With what a step is computed: columns of every table of step times.
WITH = (
    *hidden("objective"),
    Column("precision", "Precision"),
    Column("device", "Device"),
    *hidden("threads", "torch"),
    Column("backend", "Backend"),
    *hidden("parameters", "train_flops_per_step"),
)
# The columns of the rows of `ditbench.bench.scaling.with_efficiency`.
COLUMNS = (
    Column("block", "Block"),
    Column("model", "Model"),
    Column("input", "Input"),
    Column("scaling", "Scaling"),
    Column("gpus", "GPUs", _whole),
    Column("batch_size", "Batch", _whole),
    *WITH,
    Column("step_ms_median", "Step (ms)", significant(3)),
    *hidden("step_ms_p10", "step_ms_p90", "step_ms_without_all_reduce"),
    Column("all_reduce_share", "All-reduce", _percent),
    *hidden("parts", "steps_per_part"),
    Column("images_per_second", "Images/s", significant(3)),
    Column("efficiency", "Efficiency", _percent),
    *hidden("efficiency_to", "train_tflops_per_second"),
    Column("peak_memory_bytes", "MiB/GPU", decimals(0, 2**-20)),
)
# Equal in all rows: on a terminal, they are in the title.
_CONDITIONS = ("input", "precision", "device", "backend")


@dataclass(frozen=True)
class Several:
    """The values of --gpus (ascending), --scaling and --device (`cuda` or `cpu`)."""

    numbers: tuple[int, ...]
    scalings: tuple[str, ...]
    device: str

    @classmethod
    def parse(cls, gpus: str, scaling: str, device: str) -> Several:
        """Read the options; a DitbenchError if this machine has fewer GPUs."""
        if scaling not in SCALINGS:
            raise unknown_name("scaling", scaling, SCALINGS)
        numbers = sorted({parse_count(part, "--gpus") for part in gpus.split(",")})
        check_gpus(numbers[-1], device)
        return cls(tuple(numbers), SCALINGS[scaling], "cpu" if device == "cpu" else "cuda")


def measure_gpus(
    sizes: Sequence[Size], blocks: Sequence[str], several: Several, length: Length,
    table: Table, *, quiet: bool,
) -> None:  # fmt: skip
    """Measure each size and block on each number of GPUs, and print or write the table."""
    most = several.numbers[-1]
    for size in sizes:
        config = size.configs[0]
        check_options(blocks, config.model.size, config.options)
        batch = config.train.batch_size
        if batch < most and "strong" in several.scalings:
            what = f"a batch of {batch} cannot be divided over {most} GPUs"
            raise DitbenchError(what, f"pass --batch-size {most} or more")
    import torch

    from ditbench.bench import scaling

    jobs = [
        scaling.Job(config.with_values(block=block), size.shape, each)
        for size in sizes
        for block in blocks
        for config in size.configs
        for each in several.scalings
    ]
    # A process on a CPU has the same number of threads, whatever their number.
    threads = max(1, torch.get_num_threads() // most)
    conditions = scaling.Conditions(several.device, threads, length)
    found = scaling.bench(jobs, several.numbers, conditions, progress(quiet=quiet))
    gather(found, lambda rows: _print(scaling.with_efficiency(rows), table))


def gather(found: Iterable[Facts | DitbenchError], show: Callable[[list[Facts]], None]) -> None:
    """Show all rows, also those before an error. Those that fail are named; the first is raised."""
    rows: list[Facts] = []
    failure = None
    try:
        for row in found:
            if isinstance(row, DitbenchError):
                note("skipped", row.message)
                failure = failure or row
            else:
                rows.append(row)
    finally:
        if rows:
            show(rows)
    if failure:
        raise failure


def _print(rows: list[dict[str, Any]], table: Table) -> None:
    if table.chosen != "rich":
        table.write(rows, COLUMNS)
        return
    one_block = len({row["block"] for row in rows}) == 1
    in_title = {*_CONDITIONS, *(["block"] if one_block else [])}
    columns = [column for column in COLUMNS if column.name not in in_title]
    table.write(rows, columns, _title(rows[0]))


def _title(row: Mapping[str, Any]) -> str:
    """What is equal in all rows, from one of them."""
    threads = "" if row["threads"] is None else f", {counted(row['threads'], 'thread')} per process"
    return (
        f"Training on random {row['input']}, {row['objective']}, {row['precision']}, "
        f"{row['device']}{threads}, torch {row['torch']}, backend {row['backend']}. "
        f"Batch: of all GPUs together. All-reduce: its share of a step. "
        f"Efficiency: images/s per GPU, against {row['efficiency_to']} GPU."
    )
