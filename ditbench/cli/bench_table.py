"""The table of `ditbench bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ditbench.report.amounts import decimals, significant
from ditbench.report.tables.columns import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_percent = decimals(1, 100)
_count = decimals(0)


def bench_columns(*, conditions: bool) -> tuple[Column, ...]:
    """The columns of the rows of `ditbench.bench.measure.with_ratios`.

    Args:
        conditions: whether columns that are equal in all rows are shown; otherwise they are in
            `title`.
    """

    def shared(name: str, header: str, text: Callable[[Any], str] = str) -> Column:
        return Column(name, header if conditions else None, text)

    return (
        Column("block", "Block"),
        Column("implementation", None),
        shared("model", "Model"),
        shared("input", "Input"),
        shared("batch_size", "Batch", _count),
        Column("objective", None),
        shared("precision", "Precision"),
        shared("device", "Device"),
        Column("threads", None),
        Column("torch", None),
        shared("backend", "Backend"),
        Column("parameters", None),
        Column("train_flops_per_step", None),
        Column("step_ms_median", "Step (ms)", significant(3), "low"),
        Column("step_ms_p10", "10-90% of parts", significant(3), until="step_ms_p90"),
        Column("step_ms_p90", None, significant(3)),
        Column("step_ratio", "Step ratio", decimals(3), "low"),
        Column("step_ratio_to", None),
        Column("parts", None),
        Column("steps_per_part", None),
        Column("images_per_second", "Images/s", significant(3), "high"),
        Column("train_tflops_per_second", "TFLOP/s", significant(3), "high"),
        Column("matmul_tflops_per_second", None),
        Column("share_of_matmul", "% of matmul", _percent, "high"),
        Column("peak_memory_bytes", "Peak mem (MiB)", decimals(0, 2**-20), "low"),
        Column("sampling_images_per_second", "Sampled images/s", significant(3), "high"),
        Column("sampling_steps", None),
        Column("sampling_batch_size", None),
        Column("sampler", None),
        Column("cfg_scale", None),
        Column("warm_up_seconds", "Warm-up (s)", decimals(1)),
    )


def title(row: Mapping[str, Any]) -> str:
    """What is equal in all rows of our blocks, from one of them."""
    threads = "" if row["threads"] is None else f" ({row['threads']} threads)"
    return (
        f"{row['model']} on random {row['input']}, batches of {row['batch_size']}, "
        f"{row['objective']}, {row['precision']}, {row['device']}{threads}, "
        f"torch {row['torch']}, backend {row['backend']}. "
        f"Matmul: {row['matmul_tflops_per_second']:.3g} TFLOP/s. "
        f"Sampling: {row['sampling_steps']} steps of {row['sampler']}, "
        f"batches of {row['sampling_batch_size']}. Step ratio: to {row['step_ratio_to']}."
    )
