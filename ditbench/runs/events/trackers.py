"""`--log tensorboard,wandb,trackio`: trackers of experiments.

Their packages are optional and imported when a run opens a tracker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.runs.planning.plan import Plan

PROJECT = "ditbench"
PATIENCE = 60  # seconds that a tracker may take to open, and to send what is left


class Tracker(Protocol):
    """One run of one tracker: of a plan, with an identity that is unique to the run directory."""

    def __init__(self, run: Plan, identity: str, *, resumed: bool) -> None: ...

    def log(self, step: int, scalars: Mapping[str, float], grid: Path | None) -> None:
        """Add scalars and a sample grid (PNG) at a step."""

    def close(self, *, complete: bool) -> None:
        """Send what is left; the run is complete, or was interrupted or failed."""


class _TensorBoard:
    """Event files in the run directory: `tensorboard --logdir results` shows all runs."""

    def __init__(self, run: Plan, identity: str, *, resumed: bool) -> None:
        del identity
        module = import_module("torch.utils.tensorboard")
        self.writer = module.SummaryWriter(str(run.directory.path), flush_secs=10)
        if not resumed:
            self.writer.add_text("config", f"```toml\n{run.config.to_toml()}```")

    def log(self, step: int, scalars: Mapping[str, float], grid: Path | None) -> None:
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)
        if grid:
            picture = import_module("torchvision.io").decode_image(str(grid), mode="RGB")
            self.writer.add_image("samples", picture, step)

    def close(self, *, complete: bool) -> None:
        del complete
        self.writer.close()


class _Wandb:
    """A run of Weights & Biases; its variables, such as WANDB_MODE, apply."""

    def __init__(self, run: Plan, identity: str, *, resumed: bool) -> None:
        del resumed
        self.wandb = import_module("wandb")
        # Silent: it neither prints among progress nor asks for a key.
        quiet = {"silent": True, "console": "off"}
        patience = {"init_timeout": PATIENCE, "finish_timeout": PATIENCE}
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=identity,
            name=_name(run),
            dir=str(run.directory.path),
            config=run.config.model_dump(mode="json"),
            resume="allow",
            settings=self.wandb.Settings(**quiet, **patience, finish_timeout_raises=True),
        )
        # Its own steps must increase. After a crash, rows may come again.
        self.run.define_metric("*", step_metric="step")

    def log(self, step: int, scalars: Mapping[str, float], grid: Path | None) -> None:
        pictures = {"samples": self.wandb.Image(str(grid))} if grid else {}
        self.run.log({**scalars, **pictures, "step": step})

    def close(self, *, complete: bool) -> None:
        self.run.finish(exit_code=0 if complete else 1)


class _Trackio:
    """A run of trackio; its variables, such as TRACKIO_SPACE_ID, apply."""

    def __init__(self, run: Plan, identity: str, *, resumed: bool) -> None:
        self.trackio = import_module("trackio")
        self.run = self.trackio.init(
            project=PROJECT,
            name=f"{_name(run)}-{identity}",  # trackio resumes by name
            config=run.config.model_dump(mode="json"),
            resume="allow" if resumed else "never",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def log(self, step: int, scalars: Mapping[str, float], grid: Path | None) -> None:
        pictures = {"samples": self.trackio.Image(str(grid))} if grid else {}
        self.run.log({**scalars, **pictures}, step)

    def close(self, *, complete: bool) -> None:
        del complete
        self.trackio.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}


def parse_trackers(text: str) -> tuple[str, ...]:
    """`tensorboard,wandb` as names; a DitbenchError if a tracker is unknown or not installed."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise DitbenchError("--log names no tracker", f"write --log {','.join(TRACKERS)}")
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, tuple(TRACKERS))
        spec = find_spec(name)
        # A directory of that name in the working directory has no origin.
        if spec is None or spec.origin is None:
            what = f"--log {name}: the package {name} is not installed"
            raise DitbenchError(what, f"pip install 'ditbench[{name}]'")
    return names


def _name(run: Plan) -> str:
    """`digits/adaln-zero/seed0-1a2b3c4d`."""
    return "/".join(run.directory.path.parts[-3:])
