"""`ditbench presets`: what each preset trains, how long it takes and what it scores."""

from __future__ import annotations

from ditbench.amounts import decimals
from ditbench.cli.options.common import Table
from ditbench.cli.output.printing import print_sentence, print_wrapped, reference_results
from ditbench.report.tables.columns import Column, hidden

COLUMNS = (
    Column("preset", "Preset"),
    *hidden("summary"),
    Column("data", "Data"),
    Column("model", "Model"),
    *hidden("objective"),
    Column("steps", "Steps", decimals(0)),
    *hidden("batch_size", "features", "samples", "block"),
    Column("minutes", "Min", decimals(1)),
    Column("fid", "FID", decimals(2), spread="fid_sd"),
    *hidden("fid_sd"),
    Column("seeds", "n", "{:d}".format),
    Column("device", "Device"),
    *hidden("images"),
)
WIDTH = 80


def presets(table: Table) -> None:
    """List the presets: data, model, minutes per run and score, as measured on a device.

    FID is the mean over n reference runs of adaln-zero with the preset's settings, Min that over
    such runs that had the device to themselves.
    """
    from ditbench.report.measured import BLOCK, describe_presets
    from ditbench.report.reading.results import PILOT

    reference = reference_results()
    rows = describe_presets([reference, reference / PILOT])
    if table.chosen != "rich":
        table.write(rows, COLUMNS)
        return
    print_wrapped(rows, COLUMNS, width=WIDTH)
    print_sentence(
        f"Minutes (training and evaluation) on the device; FID of n reference runs of {BLOCK}."
    )
    copies = [f"{row['preset']} on {row['images']}" for row in rows if row.get("images")]
    if copies:
        print_sentence(f"Measured on copies of the images: {', '.join(copies)}.")
