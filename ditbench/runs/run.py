"""One run: train, evaluate, and write a run directory."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from ditbench.data.dataset import NanSamples
from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.metrics.scorer import Scorer
from ditbench.runs.directory.begun import begun_metrics
from ditbench.runs.directory.lock import locked
from ditbench.runs.directory.records import ReadOnly, evaluation_row, result_of
from ditbench.runs.directory.reopen import origin_of
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.events.tracked import tracked
from ditbench.runs.machine.memory import PeakMemory
from ditbench.runs.machine.runtime_errors import training_errors
from ditbench.runs.opening import open_directory
from ditbench.runs.planning.plan import Plan, build_trainer
from ditbench.runs.scoring.evaluate import create_scorer, evaluate, time_scoring
from ditbench.runs.scoring.sample import save_run_grid
from ditbench.training.checkpoint import Saver
from ditbench.training.device.repair import repaired
from ditbench.training.nonfinite import Diverged
from ditbench.training.stop import Stopped, StopRequest
from ditbench.training.trainer import Logged, Trainer


def execute(
    run: Plan, reporter: Reporter | None = None, stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train and evaluate one planned run; returns the contents of result.json.

    A complete run is not repeated. An interrupted run resumes from its last checkpoint.

    Raises:
        Stopped: a stop was requested; the run is saved.
        DitbenchError: exit code 1, if training diverges, memory does not suffice, torch cannot
            compile, the directory cannot be written or another process is writing to it.
    """
    with tracked(run, Reporter() if reporter is None else reporter) as shown:
        return _execute(run, shown, StopRequest() if stop is None else stop)


def _execute(run: Plan, reporter: Reporter, stop: StopRequest) -> dict[str, Any]:
    stop.check()  # between two runs
    world = run.world
    _check_same(run)
    if not world.first:
        run = replace(run, directory=ReadOnly(run.directory.path))
    if not world.decided(run.directory.is_complete()):
        result = _complete(run, reporter, stop)
        if result is not None:
            return result
    result = world.decided(run.directory.read_result() if world.first else {})
    reporter.finished(run, result, reused=True)
    return result


def _complete(run: Plan, reporter: Reporter, stop: StopRequest) -> dict[str, Any] | None:
    """Do what is left of a run; None if another process has completed it in the meantime."""
    stop.show = reporter.working
    reporter.preparing(run)
    begun = run.world.decided(begun_metrics(origin_of(run.config, run.directory)))
    # Missing weights of a feature extractor are found before anything is written.
    with training_errors(run), stop.at_once():
        scorer = create_scorer(run, begun, stop)
    with locked(run.directory.lock) if run.world.first else nullcontext():
        if run.world.decided(run.directory.is_complete()):
            return None
        try:
            with training_errors(run):
                result = _Execution(run, scorer, reporter, stop).result()
        except DitbenchError as error:
            if error.exit_code == EXIT_USAGE:  # it would say that nothing was written
                error.exit_code = EXIT_FAILED
            raise
        run.directory.finish(result)
        reporter.finished(run, result, reused=False)
        return result


def _check_same(run: Plan) -> None:
    """Raise a DitbenchError if the processes of a world would not do the same."""
    own = (run.directory.path.name, run.backend.name)
    if not run.world.all(own == run.world.decided(own)):
        raise DitbenchError(
            f"{run.label}: images, versions or compilers differ between the processes of this run",
            "give all machines the same images, results and packages; --backend plain needs no "
            "compiler",
            EXIT_FAILED,
        )


class _Execution:
    """A run that is being executed, from step 0 or its last checkpoint."""

    def __init__(self, run: Plan, scorer: Scorer, reporter: Reporter, stop: StopRequest) -> None:
        self.run, self.scorer, self.reporter, self.stop = run, scorer, reporter, stop
        with stop.at_once():
            self.per_score = time_scoring(run, scorer.extractors)
            self._rehearse()
            self.memory = PeakMemory(run.device)
            self.memory.start()
            self.trainer = build_trainer(run)
        stop.check()  # before anything is written

    def result(self) -> dict[str, Any]:
        """Train, evaluate and score the final model; returns the contents of result.json."""
        run, trainer = self.run, self.trainer
        open_directory(run, trainer, self.scorer, self.reporter)
        self.reporter.started(run, trainer.step, trainer.seconds, self.per_score)
        saver = Saver(run.directory, trainer)
        try:
            self._train(saver)
            self._score_final()
        except Stopped:
            saver.save()
            raise
        except (Diverged, NanSamples) as error:  # NanSamples: finite weights, but samples with NaN
            facts = error.facts if isinstance(error, Diverged) else {"step": trainer.step}
            with suppress(DitbenchError):  # a full disk must not hide the divergence
                run.directory.write_failure({"reason": error.message, **facts})
            raise
        world, memory = run.world, self.memory.bytes
        result = result_of(run, trainer, self.scorer, memory) if world.first else {}
        return world.decided(result)

    def _rehearse(self) -> None:
        """Make updates with a model that is discarded: compiling does not count as training."""
        updates = self.run.rehearsal

        def begin() -> Trainer:
            trainer = build_trainer(self.run)
            trainer.update()  # the processes of a world exchange nothing before it is compiled
            return trainer

        if updates:
            compiles = self.run.backend.compiles
            self.stop.begin("compiling" if compiles else "warming up", updates)
            trainer = repaired(begin)
            self.stop.advance()
            for _ in range(updates - 1):
                trainer.update()
                self.stop.advance()

    def _train(self, saver: Saver) -> None:
        """Train to the end of the budget, and evaluate along the way."""
        for event in self.trainer.run(self.stop):
            if isinstance(event, Logged):
                self.run.directory.append_train(vars(event))
                self.reporter.logged(event)
                saver.save_if_due()
            else:
                self.memory.stop()
                row = self._evaluate(self.run)
                # The row comes first: a checkpoint asserts that all rows before it are written.
                self.run.directory.append_evaluation(row)
                self.trainer.evaluated()
                saver.save()
                self.reporter.evaluated(row)
                self.memory.start()

    def _score_final(self) -> None:
        """Write the draws that final.csv lacks, if the final score is not the last evaluation."""
        config, directory = self.run.config.eval, self.run.directory
        done = self.run.world.decided(len(directory.read_finals()))
        if not config.extra_draws or done >= config.draws:
            return
        steps = config.steps_of_final
        final = replace(self.run, config=self.run.config.with_values(eval__sampling_steps=steps))
        self.reporter.scoring(config.draws - done, steps)
        for draw in range(done, config.draws):
            if draw == 0 and config.final_sampling_steps is None:
                row = self.run.world.decided((directory.read_evaluations() or [{}])[-1])
            else:
                row = self._evaluate(final, draw)
            directory.append_final({"draw": draw, **row})
            self.reporter.evaluated(row)

    def _evaluate(self, run: Plan, draw: int = 0) -> dict[str, Any]:
        """Evaluate, write the sample grid of draw 0, and return the row of eval.csv."""
        model = self.trainer.ema.model
        evaluation = evaluate(run, self.scorer, model, self.stop, draw)
        if draw == 0:
            save_run_grid(run, model, evaluation, run.directory.samples(self.trainer.step))
        return evaluation_row(run, self.trainer, self.scorer, evaluation)
