"""The configuration of a run: validated, with a fingerprint. Torch-free."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from ditbench.config import sections
from ditbench.config.base import Mark, Option, Section, Table
from ditbench.errors import DitbenchError, together, unknown_name

# Where pydantic's own message names a type of Python.
_IN_WORDS = {
    "path_type": "should be a path in quotes",
    "dict_type": "should be a table",
    "tuple_type": "should be a list",
}


class RunConfig(Section):
    """All keys that determine the result of one run, and the labels that name it."""

    preset: Annotated[str, Mark.NOT_IDENTITY] = "digits"
    """The name of the experiment, and of its folder in the results; --preset sets it."""
    block: str = "adaln-zero"
    """The conditioning block; --block sets it: see `ditbench blocks`."""
    # The seeds of one experiment share a fingerprint; run directories name both.
    seed: Annotated[int, Field(ge=0, lt=2**63), Mark.NOT_IDENTITY] = 0
    """The seed of the weights, batches, noise and samples; --seeds sets it."""
    data: sections.DataConfig = sections.DataConfig()
    model: sections.ModelConfig = sections.ModelConfig()
    objective: sections.ObjectiveConfig = sections.ObjectiveConfig()
    budget: sections.BudgetConfig = sections.BudgetConfig(steps=1_200)
    train: sections.TrainConfig = sections.TrainConfig()
    eval: sections.EvalConfig = sections.EvalConfig()
    metrics: sections.MetricsConfig = sections.MetricsConfig()
    options: Annotated[dict[str, Option], Mark.ADDED_LATER] = {}  # noqa: RUF012 (pydantic copies it)
    """Options that the block defines, such as options.lora_rank: see `ditbench blocks`."""
    strategy: sections.ExternalBlockConfig = sections.ExternalBlockConfig()
    parent: sections.ParentConfig = sections.ParentConfig()
    init: sections.InitConfig = sections.InitConfig()

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        # A budget in FLOPs is checked later, when the block's cost gives its number of steps.
        if self.budget.steps is not None and self.eval.points > self.budget.steps:
            raise DitbenchError(
                f"eval.points ({self.eval.points}) exceed budget.steps ({self.budget.steps})",
                f"train longer (--steps), or evaluate less: --set eval.points={self.budget.steps}",
            )
        before = self.parent
        if before.steps and before.points:
            steps = (self.budget.steps or 0) - before.steps
            if not 0 < self.eval.points - before.points <= steps:
                raise DitbenchError(
                    f"nothing is left to train or to evaluate after the {before.steps} steps and "
                    f"{before.points} evaluations of [parent]",
                    "give a budget with more steps: --steps",
                )
        scale = self.eval.cfg_scale
        if self.model.class_dropout_prob == 0 and scale != 1:
            raise DitbenchError(
                f"eval.cfg_scale = {scale:g} needs a model that was trained without labels, too, "
                "and model.class_dropout_prob is 0",
                "guide nothing (scale 1), or train with model.class_dropout_prob=0.1",
            )
        # The preset names a directory, which must lie below --out.
        if not re.fullmatch(r"\w[\w.-]*", self.preset) or not self.preset.isprintable():
            what = f"preset = {self.preset!r} cannot name a directory"
            raise DitbenchError(what, "use letters, digits and .-_ only, such as my-experiment")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over `identity`; 64 hex digits."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def identity(self) -> Table:
        """Every key that determines the result, except the seed."""
        return self.model_dump(mode="json", include=_in_use(self, labels=False))

    def with_values(self, **values: Any) -> RunConfig:
        """A validated copy with some keys replaced: `section__key=value` or `key=value`."""
        table = self.model_dump(mode="json", exclude_none=True)
        put(table, {name.replace("__", "."): value for name, value in values.items()})
        return validate(table)

    def to_toml(self) -> str:
        """The configuration as TOML text, which `load` reads back to an equal configuration."""
        include = _in_use(self, labels=True)
        return tomli_w.dumps(self.model_dump(mode="json", include=include, exclude_none=True))


def _in_use(section: Section, *, labels: bool) -> Table:
    """Keys whose default was not added later, as pydantic's `include`; with labels, or without."""
    include: Table = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if Mark.ADDED_LATER in field.metadata and value == field.default:
            continue
        if Mark.NOT_IDENTITY in field.metadata and not labels:
            continue
        # A section that was added later, with no key in use, is left out as a whole.
        if entry := _in_use(value, labels=labels) if isinstance(value, Section) else True:
            include[name] = entry
    return include


def fields(section: type[Section] = RunConfig, prefix: str = "") -> dict[str, FieldInfo]:
    """Every key of the configuration, dotted, with what pydantic knows of it."""
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= fields(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def keys() -> list[str]:
    """Every key of the configuration, dotted: `train.lr`, `model.depth`, ..."""
    return list(fields())


def section_names() -> list[str]:
    """The names of the sections."""
    return list(dict.fromkeys(key.partition(".")[0] for key in keys() if "." in key))


def is_text(key: str) -> bool:
    """Whether every value of a dotted key is a text or a path."""
    field = fields().get(key)
    return field is not None and field.annotation in (str, str | None, Path | None)


def validate(table: Table) -> RunConfig:
    """A table as a `RunConfig`; a DitbenchError names every unknown key and wrong value."""
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise _problems(error) from error


def check_keys(table: Table, file: Path) -> None:
    """As `validate`, for the keys of a file, which is named; whether they fit together is checked
    when other layers have been put over them.
    """
    try:
        RunConfig.model_validate(table)
    except ValidationError as error:
        problems = _problems(error)
        raise DitbenchError(f"{file}: {problems.message}", problems.hint) from error
    except DitbenchError:
        pass


def _problems(error: ValidationError) -> DitbenchError:
    # Of a value that may have one of several types, pydantic reports one problem per type.
    first = {each["loc"][:2]: each for each in reversed(error.errors())}
    return together([_problem(each) for each in reversed(first.values())])


def _problem(found: Mapping[str, Any]) -> DitbenchError:
    """What pydantic found wrong with one key."""
    key, kind = ".".join(map(str, found["loc"])), found["type"]
    if kind == "extra_forbidden":
        return unknown_key(key)
    if kind == "model_type":
        return DitbenchError(f"{key} is a section, not a value", f"name a key: {key}.KEY=VALUE")
    try:
        given = "a table" if isinstance(found["input"], dict) else repr(found["input"])
    except ValueError:  # Python does not write integers of thousands of digits
        given = "a number of thousands of digits"
    reason = _IN_WORDS.get(kind, found["msg"].removeprefix("Input "))
    return DitbenchError(f"{key} = {given}: {reason}", f"`ditbench settings {key}` describes it")


def unknown_key(key: str) -> DitbenchError:
    """The error for a name that is neither a key nor a section."""
    error = unknown_name("key", key, [*section_names(), *keys()])
    if error.hint and error.hint.startswith("known:"):  # too many
        error.hint = "`ditbench settings` lists all keys"
    return error


def flatten(table: Table, prefix: str = "") -> Table:
    """Nested tables as one with dotted keys: `{"train": {"lr": 1}}` -> `{"train.lr": 1}`."""
    flat: Table = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def put(table: Table, layer: Table) -> None:
    """Set the dotted keys of a layer in a table; a budget among them replaces the one before."""
    if any(key.startswith("budget.") for key in layer):
        table["budget"] = {}
    for key, value in layer.items():
        *above, last = key.split(".")
        below = table
        for section in above:
            below = below.setdefault(section, {})
            if not isinstance(below, dict):
                raise unknown_key(key)
        below[last] = value
