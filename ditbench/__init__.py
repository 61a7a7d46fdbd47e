"""A fair comparison of the ways to tell a diffusion transformer its timestep and class.

    import ditbench

    runs = ditbench.load_results("results")  # a tidy DataFrame, one row an evaluation
    print(ditbench.compare(runs).sentence)

Both are torch-free; docs/api.md tells the columns. `@ditbench.strategy("name")` above a class makes
it a strategy of this process: docs/your-own.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ditbench.models.registry import strategy
    from ditbench.report.compare import Comparison, compare, compare_groups
    from ditbench.report.groups import split_groups
    from ditbench.report.results import load_results

__version__ = "0.1.0"
__all__ = ["Comparison", "compare", "compare_groups", "load_results", "split_groups", "strategy"]

_HOMES = {
    "Comparison": "ditbench.report.compare",
    "compare": "ditbench.report.compare",
    "compare_groups": "ditbench.report.compare",
    "load_results": "ditbench.report.results",
    "split_groups": "ditbench.report.groups",
    "strategy": "ditbench.models.registry",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line must start at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ditbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
