"""`ditbench run --launcher slurm`: what is asked of Slurm, and the commands of the jobs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.amounts import counted
from ditbench.cli.options.parse import parse_count, parse_seconds
from ditbench.cli.output.printing import echo, emit_text, print_json
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    import torch

    from ditbench.config import RunConfig
    from ditbench.runs.planning.plan import Plan

LAUNCHERS = ("local", "slurm")
# Slurm sends a signal 90 s before the time limit, and may be late by a minute.
LEAST_MINUTES = 5
# Short names of options of sbatch; any other key is the name of an option.
SHORT = {"gpus": "gpus_per_node", "cpus": "cpus_per_task"}
DEFAULTS = {"job_name": "ditbench", "requeue": True}
EXAMPLE = "write --slurm partition=gpu,time=4h,gpus=1"


@dataclass(frozen=True)
class Jobs:
    """What the jobs of a command have in common."""

    parameters: dict[str, Any]  # of `submitit.SlurmExecutor`
    device: str  # where a job trains

    def place(self, config: RunConfig) -> tuple[RunConfig, torch.device]:
        """The configuration of runs that this machine plans and another one executes.

        A login node often has no GPU: only the precision depends on the device.
        """
        import torch

        precision = config.train.precision
        if precision == "auto":
            precision = "fp32" if self.device == "cpu" else "bf16"
        # The jobs choose a backend themselves; it is not part of what identifies a run.
        config = config.with_values(train__precision=precision, train__backend="auto")
        return config, torch.device("cpu")

    def launch(
        self,
        plans: list[Plan],
        out: Path,
        say: Callable[[str], None],
        *,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Submit the runs that are incomplete, not running and not queued; print all jobs."""
        from ditbench.launch.slurm import script, submit
        from ditbench.launch.states import IDLE, states
        from ditbench.runs.planning.ready import check_ready

        found = states(plan.directory for plan in plans)
        left = [plan for plan, state in zip(plans, found, strict=True) if state in IDLE]
        counts = Counter(state for state in found if state not in IDLE)
        counts["to submit"] = len(left)
        parts = (f"{number} {state}" for state, number in counts.items())
        say(f"{counted(len(plans), 'run')}: {', '.join(parts)}")
        check_ready(left)
        if dry_run:
            if left:
                emit_text(script(len(left), self.parameters, out), None)
            return
        commands = [(plan.directory, self._command(plan)) for plan in left]
        numbers = submit(commands, self.parameters, out) if left else []
        rows = [
            {"job": job, "block": plan.config.block, "seed": plan.config.seed,
             "path": str(plan.directory.path)}
            for job, plan in zip(numbers, left, strict=True)
        ]  # fmt: skip
        if as_json:
            print_json(rows)
            return
        for row in rows:
            echo("job {job}: {block} seed {seed}, {path}".format_map(row))

    def _command(self, plan: Plan) -> list[str]:
        """The command line of this process for one run; the last of two equal options counts.

        It plans all runs, as this process did: options, matched widths and tuned rates are equal.
        """
        once = {
            "--launcher": "local", "--slurm": "", "--device": self.device,
            "--precision": plan.config.train.precision,
            "--features": plan.config.metrics.features, "--task": str(plan.directory.path),
        }  # fmt: skip
        given = [part for pair in once.items() for part in pair]
        return [sys.executable, "-m", "ditbench", *sys.argv[1:], *given]


def parse_launcher(launcher: str, slurm: str | None, device: str) -> Jobs | None:
    """The jobs of `--launcher slurm` with the options --slurm and --device; None for `local`."""
    if launcher not in LAUNCHERS:
        raise unknown_name("launcher", launcher, LAUNCHERS)
    if launcher == "local":
        if slurm:
            raise DitbenchError("--slurm is given without --launcher", "add --launcher slurm")
        return None
    options = parse_slurm(slurm or "")
    has_gpu = any(key.startswith(("gpus", "gres")) for key in options)
    minutes = options.pop("time", 60)
    cpus = options.get("cpus_per_task")
    parameters = {
        "time": minutes,
        "array_parallelism": options.pop("parallel", 10_000),
        # Since Slurm 22.05, srun does not inherit it from the job.
        "srun_args": [] if cpus is None else [f"--cpus-per-task={cpus}"],
        "additional_parameters": DEFAULTS | options,
    }
    if device == "auto":
        device = "cuda" if has_gpu else "cpu"
    return Jobs(parameters, device)


def parse_slurm(text: str) -> dict[str, Any]:
    """Parse `partition=gpu,time=4h,nodelist=a,b` to options of sbatch; the time is in minutes.

    A part without `=` belongs to the value before it.
    """
    options: dict[str, Any] = {}
    for part in re.split(r",(?=[\w-]+=)", text.strip()) if text.strip() else ():
        match = re.fullmatch(r"([a-z][a-z_-]*)=(.+)", part.strip())
        if match is None:
            raise DitbenchError(f"--slurm '{part.strip()}' is not KEY=VALUE", EXAMPLE)
        key = SHORT.get(match[1], match[1].replace("-", "_"))
        options[key] = match[2].strip()
    if "time" in options:
        options["time"] = _minutes(options["time"])
    if "parallel" in options:
        options["parallel"] = parse_count(options["parallel"], "--slurm parallel")
    return options


def _minutes(text: str) -> int:
    """`4h` as minutes. A number without a unit is refused: it means seconds here, not in Slurm."""
    with suppress(DitbenchError):
        minutes = parse_seconds(text, "time") / 60
        if minutes >= LEAST_MINUTES and not text.isdecimal():
            return round(minutes)
    raise DitbenchError(
        f"--slurm time={text} is not a time of {LEAST_MINUTES}m or more",
        "write time=4h or time=30m; a run that needs longer is saved, requeued and resumed",
    )


def the_run(directory: Path, plans: list[Plan]) -> list[Plan]:
    """The plan of the run in a directory, for the job that executes it."""
    found = [plan for plan in plans if plan.directory.path == directory]
    if not found:
        raise DitbenchError(
            f"this machine plans no run in {directory}: its versions or its images differ from "
            "those of the machine that submitted the job",
            "submit again from a machine that is set up like this one",
        )
    return found
