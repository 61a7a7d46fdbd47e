"""Compare conditioning blocks of diffusion transformers under the same budget.

    import ditbench

    runs = ditbench.load_results("results")  # a tidy DataFrame, one row per evaluation
    print(ditbench.compare(runs).sentence)

Both are torch-free; docs/api.md describes the columns. `@ditbench.strategy("name")` registers a
class as a block: docs/your-own.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ditbench.models.registry import strategy
    from ditbench.report.reading.groups import split_groups
    from ditbench.report.reading.results import load_results
    from ditbench.report.statistics.compare import Comparison, compare, compare_groups

__version__ = "0.1.0"
__all__ = ["Comparison", "compare", "compare_groups", "load_results", "split_groups", "strategy"]

_HOMES = dict.fromkeys(__all__, "ditbench.report.statistics.compare") | {
    "load_results": "ditbench.report.reading.results",
    "split_groups": "ditbench.report.reading.groups",
    "strategy": "ditbench.models.registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ditbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
