"""`--init` and `ditbench export` on the command line: the round trip, and what is refused."""

import json
from pathlib import Path

import autoencoder
import numpy as np
import pytest
import torch
from PIL import Image

from ditbench.data.latents.vae import Vae
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class
from ditbench.models.sizes import ModelSize, parse_model

SAMPLING = ("--sampling-steps", "3", "--device", "cpu")
SIZE = ("--model", "16x1x2/2")


def saved_dit(name, size, **shape):
    """A file with the initial weights of a DiT for ten classes."""
    model = DiT(block_class("adaln-zero"), size, height=8, width=8, num_classes=10, **shape)
    torch.save(model.state_dict(), name)
    return name


@pytest.fixture(scope="module")
def weights(tmp_path_factory, succeed, tiny):
    """A run, and its exported weights."""
    place = tmp_path_factory.mktemp("weights")
    made = succeed(
        "run", "--block", "adaln-zero", "--objective", "ddpm", *tiny, "--out", place / "results"
    )
    run = Path(made.stdout.splitlines()[-1])
    result = succeed("export", run, "-o", place / "dit.pt")
    assert result.stdout == f"{place / 'dit.pt'}\n"
    assert "16x1x2/2 adaln-zero" in result.stderr
    return run, place / "dit.pt"


def test_weights_are_sampled_scored_trained_and_exported_again(
    weights, mistake, succeed, tiny, elsewhere
):
    _, path = weights
    succeed("sample", "--init", path, *SIZE, *SAMPLING, "--per-class", "2")
    assert Path("samples.png").is_file()
    scored = succeed(
        "eval", "--init", path, *SIZE, "--data", "digits", "--samples", "40", *SAMPLING, "--json"
    )
    (row,) = json.loads(scored.stdout)
    assert (row["evaluation"], row["step"]) == ("cfg1-ddpm3-40-digits", 0)
    assert row["path"].startswith("results/weights/dit-")
    result = succeed("run", "--init", path, "--block", "adaln", *tiny, "--objective", "ddpm")
    assert (
        "starts fresh: blocks.*.adaLN_modulation.1.weight (expected 64x16, found 96x16)"
        in result.stderr
    )
    run = Path(result.stdout.splitlines()[-1])
    succeed("export", run, "-o", "again.safetensors")
    error, _ = mistake("sample", "--init", "again.safetensors", *SIZE, *SAMPLING)
    assert "it lacks weights of the model: blocks.*.adaLN_modulation.1.weight" in error
    succeed("sample", "--init", "again.safetensors", *SIZE, "--block", "adaln", *SAMPLING)


def test_samples_of_the_file_are_those_of_the_run(weights, cli, succeed, elsewhere):
    run, path = weights
    succeed("sample", run, "-o", "a.png", *SAMPLING)
    succeed("sample", "--init", path, *SIZE, "-o", "b.png", *SAMPLING)
    succeed("sample", "--init", run, "-o", "c.png", *SAMPLING)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() == Path("c.png").read_bytes()
    succeed("sample", "--init", path, *SIZE, "--export", "d", "--count", "4", *SAMPLING)
    again = cli("sample", "--init", path, *SIZE, "--export", "d", "--count", "4", *SAMPLING)
    assert "already complete" in again.stderr


def test_the_size_is_that_of_the_file(succeed, tiny, elsewhere, untimed):
    """The sizes of the paper have one number of heads: no shape shows it."""
    saved_dit("s4.pt", parse_model("S/4"), channels=1, out_channels=1)
    common = [each for each in tiny if each not in SIZE]
    result = succeed(
        "run", "--init", "s4.pt", "--block", "adaln-zero", *common, "--dry-run", "--json"
    )
    (row,) = json.loads(result.stdout)
    assert row["model"] == "S/4"
    assert "adaln-zero: 132 weights from" in result.stderr


def test_latents_of_a_file_are_decoded(mistake, succeed, elsewhere):
    path = saved_dit("latents.pt", ModelSize(16, 1, 2, 2), channels=4, out_channels=8)
    autoencoder.saved(Path("vae"))
    call = ("sample", "--init", path, *SIZE, *SAMPLING, "--per-class", "1")
    assert f"{path} makes latents, not images" in mistake(*call)[0]
    succeed(*call, "--vae", "vae")
    assert Image.open("samples.png").size[1] % 32 < 24  # 8x8 latents are 32x32 images
    export = ("--vae", "vae", "--export", "out.npz", "--count", "3")
    succeed("sample", "--init", path, *SIZE, *SAMPLING, *export)
    assert np.load("out.npz")["arr_0"].shape == (3, 32, 32, 3)


def test_released_weights_of_latents_are_scored_trained_and_exported(
    cli, mistake, succeed, tiny, elsewhere
):
    """The way of DiT-XL-2-256x256.pt at a small size: score, fine-tune, export, score again."""
    path = saved_dit("latents.pt", ModelSize(16, 1, 2, 2), channels=4, out_channels=8)
    vae = Vae.load(autoencoder.saved(Path("vae")))
    images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    means = vae.encode(images)[:, : vae.channels].numpy()
    np.savez("data.npz", latents=means, labels=np.arange(40) % 10, image_size=32,
             scaling_factor=vae.space(32).scaling_factor)  # fmt: skip
    given = ("--data", "data.npz", "--vae", "vae", "--features", "cifar10", *SIZE)
    again = ("--samples", "40", *SAMPLING, "--set", "eval.cfg_channels=3", "--json")
    scored = succeed("eval", "--init", path, *given, *again)
    (row,) = json.loads(scored.stdout)
    assert row["fid"] > 0
    assert row["evaluation"].startswith("cfg1-ddpm3-3channels-40-cifar10-")
    run = succeed(
        "run", "--init", path, "--block", "adaln-zero", "--objective", "ddpm", *given, *tiny
    )
    assert "starts fresh: nothing; not used: nothing" in run.stderr
    succeed("export", run.stdout.splitlines()[-1], "-o", "tuned.pt")
    succeed("eval", "--init", "tuned.pt", *given, *again)
    scores = [*Path("results/weights").glob("*")]
    assert [len([*place.glob("evals/*.json")]) for place in scores] == [1, 1]
    lines = cli("list").stderr.splitlines()
    assert [line.split(": scores of weights; ")[0] for line in lines] == sorted(map(str, scores))
    for command in ("show", "rm"):
        assert f"{scores[0]} holds scores of weights, not a run" in mistake(command, scores[0])[0]


def test_wrong_calls_are_refused_in_one_line(weights, cli, elsewhere):
    run, path = weights
    cases = {
        ("sample",): "neither RUN nor --init is given",
        ("sample", run, "--init", path): "RUN and --init are given together",
        ("sample", run, "--block", "adaln"): "--block is given without --init",
        ("eval", run, "--set", "seed=1"): "--set is given without --init",
        ("eval", "--init", path, *SIZE): "--init lacks the real images",
        ("sample", "--init", path): "no shape shows the number of attention heads",
        ("sample", "--init", path, "--block", "paper"): "--block paper is 4 blocks",
        ("sample", "--init", "none.pt"): "none.pt does not exist",
        ("export", run, "-o", "x.onnx"): "cannot write weights as 'x.onnx'",
        ("export", run, "-o", "x.pt", "--layout", "keras"): "unknown layout 'keras'",
        ("run", "--init", path, "--model", "32x1x2/2"): "expected 32x1x2x2, found 16x1x2x2",
    }
    for arguments, message in cases.items():
        result = cli(*arguments, *(("--device", "cpu") if arguments[0] != "export" else ()))
        assert result.exit_code == 2, (arguments, result.stdout, result.stderr, result.exception)
        assert message in result.stderr.splitlines()[-2], result.stderr
