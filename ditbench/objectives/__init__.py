"""Objectives: what a diffusion transformer is trained to predict, and how it is sampled.

This file is the registry. It imports torch only when an objective is created, so that names are
listed and checked fast.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.objectives.base import Objective

OBJECTIVES = {"ddpm": "DDPM", "flow": "Flow"}  # name (and module) -> class


def create_objective(name: str, **options: Any) -> Objective:
    """Create an objective; the options are arguments of its class, such as `learn_sigma`.

    A DitbenchError if there is no such objective, or it does not have one of the options.
    """
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    kind: type[Objective] = getattr(import_module(f"{__name__}.{name}"), OBJECTIVES[name])
    for option in options:
        if option not in signature(kind).parameters:
            what = f"{name} has no option '{option}'"
            raise DitbenchError(what, f"leave {option} out for {name}")
    return kind(**options)
