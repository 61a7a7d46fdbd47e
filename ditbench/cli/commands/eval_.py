"""`ditbench eval`: complete runs scored again, without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.cli.execution.gpus import check_gpus
from ditbench.cli.execution.training import interruptible
from ditbench.cli.options.common import Table, argument, option
from ditbench.cli.options.completion import complete_places
from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.sampling import Sampled
from ditbench.cli.options.training import Quiet
from ditbench.cli.output.meter import Meter, load_torch, meter
from ditbench.cli.output.printing import echo, note, print_sentence, progress
from ditbench.data import find_source
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    import torch

    from ditbench.config import RunConfig
    from ditbench.launch.rescoring import Planned
    from ditbench.runs.planning.rescoring import Rescoring

# The work that makes up nearly all time of a draw.
SAMPLING = "sampling"


def eval_(
    runs: Annotated[list[Path] | None, argument("RUN...",
        "Run directories, or directories that contain complete runs.", complete_places)] = None,
    cfg_scale: Annotated[str | None, option("X,Y,...",
        "Guidance scales; 1 is no guidance. Default: as in the run.")] = None,
    *, options: Sampled,
    samples: Annotated[str | None, option("N",
        "How many samples: 50000 or 50k. Default: as in the run.")] = None,
    features: Annotated[str | None, option("NAME",
        "The features of the metrics, see `ditbench features`. Default: the run's.")] = None,
    draws: Annotated[int, option("N",
        "The number of draws of noise to score; their mean is taken.", min=1, max=10_000)] = 1,
    batch_size: Annotated[int | None, option("N",
        "Images per batch of sampling. Default: as in the run.", min=1)] = None,
    data: Annotated[Path | None, option("PATH",
        "Where the images are now. Default: where they were. With --init: the real "
        "images.")] = None,
    real: Annotated[Path | None, option("PATH",
        "The real images: a folder, a zip, or an .npz of images or of ADM's statistics. Default: "
        "as in the run.")] = None,
    gpus: Annotated[int, option("N",
        "GPUs that sample and score together. Scores do not depend on it.", min=1)] = 1,
    table: Table,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Score complete runs again with other settings: guidance, sampler, samples, features.

    Nothing is trained. Scores go into `evals/` of each run; `ditbench compare --eval NAME` ranks
    by them. The same command again resumes, or says that it is complete. --init scores other
    weights, on the images of --data; those scores go into `results/weights/`.
    """
    count = None if samples is None else parse_count(samples, "--samples")
    scales = [None] if cfg_scale is None else _parse_scales(cfg_scale)
    common = {
        **options.settings, "eval__samples": count, "eval__batch_size": batch_size,
        "metrics__features": features, "metrics__real": real,
    }  # fmt: skip
    settings = [{"eval__cfg_scale": scale, **common} for scale in scales]
    is_file = options.check(runs)
    directories = _directories(runs or ())

    if gpus > 1:
        check_gpus(gpus, options.device)

    load_torch(quiet=quiet)
    from ditbench.runs.machine.environment import select_device
    from ditbench.runs.planning.rescoring import plan_rescoring
    from ditbench.runs.scoring.scored import other_decoder

    plan: Callable[..., Planned]
    if is_file:
        plan = partial(_plan_weights, options.configure(_images(data)), settings, draws)
    else:
        plan = partial(plan_rescoring, directories, settings, draws, data=data, trust=options.trust)
    jobs, skipped = plan(device=select_device(options.device))
    _report_skipped(skipped, all_of_them=not jobs)
    for text in filter(None, dict.fromkeys(other_decoder(job.plan) for job in jobs)):
        note("warning", text)
    done, failed = _execute(plan, jobs, gpus, quiet=quiet)
    _print(done, table)
    if failed and len(jobs) == 1:
        raise failed[0]
    if failed:
        what = f"{len(failed)} of {len(jobs)} evaluations failed, the first: {failed[0].message}"
        raise DitbenchError(what, failed[0].hint, EXIT_FAILED)


def _report_skipped(skipped: Sequence[tuple[Path, DitbenchError]], *, all_of_them: bool) -> None:
    """Name the runs that are not scored again; if there are no others, as an error."""
    if all_of_them:
        path, error = skipped[0]
        more = f" ({len(skipped) - 1} more skipped)" if len(skipped) > 1 else ""
        raise DitbenchError(f"{path}: {error.message}{more}", error.hint, error.exit_code)
    for path, error in skipped:
        note("skipped", f"{path}: {error.message}")


def _plan_weights(
    config: RunConfig, settings: Sequence[Mapping[str, Any]], draws: int, device: torch.device
) -> Planned:
    """The scoring of weights; none is skipped."""
    from ditbench.runs.scoring.weights import plan_weights

    return plan_weights(config, settings, draws, device), []


def _images(data: Path | None) -> dict[str, Any]:
    """The keys of the configuration for the real images, which weights do not name."""
    if data is None:
        raise DitbenchError("--init lacks the real images", "name them: --data PATH")

    name, path = find_source(data)
    return {"data.name": name, "data.path": path}


def _parse_scales(text: str) -> list[float]:
    """`1,1.5,4` as guidance scales, each once, in order."""
    try:
        scales = [float(part) for part in text.split(",")]
    except ValueError:
        scales = [-1.0]
    if not all(0 <= scale <= 1e6 for scale in scales):
        what = f"--cfg-scale '{text}' is not a list of guidance scales from 0 on"
        raise DitbenchError(what, "write --cfg-scale 1,1.5,4")
    return list(dict.fromkeys(scales))


def _directories(places: Sequence[Path]) -> list[RunDirectory]:
    """Every run at or below some places, once."""
    from ditbench.report.reading.results import find_runs, runs_in

    hint = "name a directory that `ditbench run` printed"
    found = list(runs_in(places, hint))
    for place in places:
        if next(find_runs(place), None) is None:
            raise DitbenchError(f"no run in {place}", hint)
    return found


class _Shown:
    """Shows what `rescore` reports. Draws count by the passes of the model that they take."""

    def __init__(self, left: Sequence[Rescoring], meter: Meter) -> None:
        self.meter = meter
        self.draws = sum(job.left for job in left)
        self.total = sum(job.left * job.passes for job in left)
        self.number, self.complete = 1, 0
        self.label, self.passes = "", 0

    def begin(self, job: Rescoring) -> None:
        self.label, self.passes = job.label, job.passes

    def working(self, activity: str, done: int, parts: int) -> None:
        share = done / max(parts, 1) if activity == SAMPLING else 0
        reached = self.complete + self.passes * share
        state = f"{activity} {done}/{parts}"
        self.meter.show(f"{self._place} {self.label}", reached, self.total, state)

    def scored(self, job: Rescoring, row: dict[str, Any]) -> None:
        from ditbench.runs.events.progress import fid

        draw = f", draw {row['draw']}" if job.draws > 1 else ""
        self.meter.say(f"{self._place} {self.label}{draw}  {fid(row)}")
        self.number += 1
        self.complete += job.passes

    @property
    def _place(self) -> str:
        return f"[{self.number}/{self.draws}]"


def _execute(
    plan: Callable[..., Planned], jobs: Sequence[Rescoring], gpus: int, *, quiet: bool
) -> tuple[list[tuple[Rescoring, dict[str, Any]]], list[DitbenchError]]:
    """Score what is missing; returns what is complete, and the errors of the others."""
    from ditbench.launch.rescoring import rescore_together
    from ditbench.runs.scoring.rescore import rescore

    left = [job for job in jobs if job.left]
    if len(left) < len(jobs):
        progress(quiet=quiet)(f"{len(jobs) - len(left)} of {len(jobs)} are already complete")
    done, failed = [], []
    with interruptible() as stop, meter(quiet=quiet or not left) as meters:
        shown = _Shown(left, meters)
        if gpus > 1 and left:
            outcomes = rescore_together(plan, jobs, gpus, shown, stop)
        else:
            outcomes = rescore(jobs, shown, stop)
        for job, outcome in outcomes:
            if isinstance(outcome, DitbenchError):
                if len(jobs) > 1:
                    note("failed", f"{job.label}: {outcome.message}")
                failed.append(outcome)
            else:
                done.append((job, outcome))
    return done, failed


def _print(done: Sequence[tuple[Rescoring, dict[str, Any]]], table: Table) -> None:
    """What a single run says, and a table of all."""
    from ditbench.report.tables.rescored import rescored_columns, rescored_row, sentence, setting

    found = [rescored_row(job.path, content) for job, content in done]
    rows = [row for row, _ in found]
    metrics = {metric.name: metric for _, each in found for metric in each}
    columns = rescored_columns(rows, list(metrics.values())) if rows else ()
    if table.chosen != "rich":
        table.write(rows, columns)
    elif rows:
        one = len({row["path"] for row in rows}) == 1
        print_sentence(sentence(rows) if one else setting(rows))
        table.write(rows, columns)
        if one:
            echo(rows[0]["path"])
