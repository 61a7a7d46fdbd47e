"""An option that would do nothing is refused in a line, before anything is written."""

from pathlib import Path

import numpy as np
import pytest
from latents import npz

from ditbench.errors import DitbenchError
from ditbench.launch.devices import choose_workers
from ditbench.runs.planning import plan

RUN = "run --block adaln --preset digits "
CASES = [
    (RUN + "--background black", "background = black has no effect", "leave it out"),
    (RUN + "--set data.random_crop=true", "it is for pictures in files, and the data", "leave it"),
    (RUN + "--set data.max_unreadable=0.5", "max_unreadable = 0.5 has no effect", "leave it out"),
    (RUN + "--set data.label_column=x", "it is for pictures with a table", "leave it out"),
    (RUN + "--set data.scaling_factor=2", "scaling_factor = 2.0 has no effect: it is for latents",
     "leave it out"),
    ("run --data {images} --background black", "and the data are 'npz'", "leave it out"),
    ("run --data {latents} --background black", "background = black has no effect", "leave it out"),
    ("init {images} --set data.background=black", "background = black has no effect", "leave it"),
    ("encode {images} --vae none -o out --background black", "background = black has", "leave it"),
    ("encode {images} --vae none -o out --max-unreadable 0.5", "max_unreadable = 0.5", "leave it"),
    (RUN + "--launcher slurm --dry-run --json", "does not use --json", "leave --json out"),
    ("tune --block adaln --dry-run -o t.csv", "--dry-run does not use --output", "leave --output"),
    ("tune --block adaln --dry-run --format md", "--dry-run does not use --format", "--format out"),
    ("bench --scaling strong", "--scaling strong is given without --gpus", "--gpus 1,2,4"),
    ("bench --gpus 2 --device cpu --sampling-steps 5", "--gpus does not use --sampling", "leave"),
    ("bench --set metrics.features=inception", "metrics.features", "settings that do"),
    ("bench --set data.background=black", "data.background", "settings that do"),
    ("sample --init {run} --trust", "--init does not use --trust", "leave --trust out"),
    ("eval --init {run} --data digits --trust", "--init does not use --trust", "leave --trust out"),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(experiment, tmp_path_factory):
    """Images and latents in one file each, and a run."""
    place = tmp_path_factory.mktemp("places")
    images = np.zeros((40, 8, 8, 1), np.uint8)
    np.savez(place / "mine.npz", images=images, labels=np.arange(40) % 2)
    npz(place / "latents.npz", 40, image_size=32, scaling_factor=0.5)
    run = next(experiment[1].glob("digits/adaln-zero/seed0-*"))
    files = {"images": place / "mine.npz", "latents": place / "latents.npz"}
    return {**files, "run": run}


@pytest.mark.parametrize(("arguments", "error", "hint"), CASES)
def test_an_option_without_effect_is_refused(cli, elsewhere, places, arguments, error, hint):
    result = cli(*arguments.format(**places).split(" "))
    assert result.exit_code == 2, (result.stdout, result.exception)
    first, second = result.stderr.splitlines()[-2:]  # below what is said of the images
    assert first.startswith("error: ")
    assert error in first
    assert hint in second
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("workers", "gpus", "option"), [(2, 1, "--workers 2"), (None, 4, "--gpus 4")]
)
def test_torchrun_says_how_many_processes_there_are(monkeypatch, workers, gpus, option):
    import torch

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert len(choose_workers(None, 8, torch.device("cpu"))) == 1
    with pytest.raises(DitbenchError, match=f"torchrun and {option} are given together"):
        choose_workers(workers, 8, torch.device("cpu"), gpus)


def test_a_run_that_began_with_such_an_option_is_resumed_and_read(
    cli, succeed, tiny, tmp_path, monkeypatch
):
    command = ("run", "--block", "adaln", *tiny, "--set", "data.background=black", "--out")
    with monkeypatch.context() as earlier:  # versions of ditbench accepted it
        earlier.setattr(plan, "check_effect", lambda config, dataset: None)
        run = Path(succeed(*command, tmp_path / "out").stdout.splitlines()[-1])
    (run / "result.json").unlink()  # as where a signal stopped it before the end
    assert cli(*command, tmp_path / "new").exit_code == 2
    assert succeed(*command, tmp_path / "out").stdout.splitlines()[-1] == str(run)
    succeed(
        "reproduce",
        run,
        "--device",
        "cpu",
        "--group",
        tmp_path / "out",
        "--out",
        tmp_path / "again",
    )
    succeed("run", "--continue", run, "--steps", "30", "--device", "cpu")
    succeed("eval", run, "--sampling-steps", "2", "--device", "cpu")
    succeed("sample", run, "-o", tmp_path / "grid.png", "--device", "cpu")
