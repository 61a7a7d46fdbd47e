"""`ditbench` in this process."""

import typer.testing

from ditbench.cli import app

# Once: the runner builds it for every call otherwise, which takes longer than most commands.
COMMAND = typer.main.get_command(app)
typer.testing._get_command = lambda _: COMMAND
RUNNER = typer.testing.CliRunner()

# Options of a run that takes a second, but for `--steps`.
TINY = (
    *("--model", "16x1x2/2", "--batch-size", "16", "--device", "cpu", "--set", "eval.points=2"),
    *("--set", "eval.samples=40", "--set", "eval.sampling_steps=3"),
)


def ditbench(*arguments, answer=None):
    """Call `ditbench` with arguments; the result has exit_code, stdout, stderr, exception."""
    texts = [str(part) for part in arguments]
    return RUNNER.invoke(app, texts, input=answer, prog_name="ditbench")
