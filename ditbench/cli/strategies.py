"""`ditbench blocks`: the strategies, described by themselves."""

from ditbench.cli.options import Format, Output
from ditbench.cli.output import emit
from ditbench.models.blocks import block_class, block_names
from ditbench.models.sizes import parse_model

# The paper's comparison, and the strategy that the others are measured against there.
MODEL = "XL/2"
LATENT = 32
LATENT_CHANNELS = 4
REFERENCE = "adaln"


def blocks(format: Format = None, output: Output = None) -> None:  # noqa: A002
    """List the strategies: how each conditions, what it costs, where it is from."""
    from ditbench.report.tables import Column, decimals, format_of

    format_of(output, format)  # a wrong one is refused before the seconds that counting takes

    from ditbench.models.cost import count

    size = parse_model(MODEL)
    costs = {
        name: count(name, size, height=LATENT, width=LATENT, channels=LATENT_CHANNELS)
        for name in block_names()
    }
    reference = costs[REFERENCE].gmacs
    rows = []
    for name, cost in costs.items():
        strategy = block_class(name)
        options = strategy.options(size)
        told = ["t"] * strategy.reads_timestep + ["c"] * strategy.reads_class
        rows.append(
            {
                "block": name,
                "conditioning": strategy.summary,
                "formula": strategy.formula,
                "reads": ", ".join(told) or "nothing",
                "final_layer": "adaptive" if strategy.adaptive_final_layer else "plain",
                "own_tokens": strategy.own_tokens,
                "options": ", ".join(f"{key}={value}" for key, value in options.items()),
                "starts_as": strategy.starts_as,
                "parameters": cost.parameters,
                "gmacs": cost.gmacs,
                "overhead_percent": 100 * (cost.gmacs / reference - 1),
                "source": strategy.source,
            }
        )
    columns = (
        Column("block", "Block"),
        Column("conditioning", "How the conditioning enters"),
        Column("formula", None),
        Column("reads", None),
        Column("final_layer", "Final layer"),
        Column("own_tokens", None),
        Column("options", None),
        Column("starts_as", "Starts as"),
        Column("parameters", f"{MODEL} params (M)", decimals(1, 1e-6)),
        Column("gmacs", f"{MODEL} GMACs", decimals(2)),
        Column("overhead_percent", f"vs {REFERENCE} (%)", decimals(2)),
        Column("source", "Source"),
    )
    emit(rows, columns, format, output)
