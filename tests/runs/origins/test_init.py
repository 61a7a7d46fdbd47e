"""Runs that start from weights: what they take, what identifies them, and what they need later."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from ditbench.config import load as load_config
from ditbench.errors import DitbenchError
from ditbench.runs.export import export_weights
from ditbench.runs.origins.init import RECORD, in_words
from ditbench.runs.planning.plan import build_trainer, plan_all
from ditbench.runs.run import execute
from ditbench.runs.scoring.weights import open_weights, plan_weights
from ditbench.training.checkpoint import read_checkpoint
from ditbench.weights.names import from_diffusers
from ditbench.weights.read import read_weights
from ditbench.weights.recognise import recognise

DDPM = {"objective__name": "ddpm"}


@pytest.fixture
def trained(make_plan, made):
    """A complete run, and its averaged weights as a file in the released layout."""
    plan = make_plan(out=made, **DDPM)
    execute(plan)
    path = made / "weights.pt"
    if not path.exists():
        said = export_weights(plan.directory.path, path)
        assert said == "16x2x2/2 adaln-zero: 15,016 averaged weights"
    return plan, path


def averaged(plan):
    tensors, _ = read_checkpoint(plan.directory.checkpoint)
    return {n.removeprefix("ema."): v for n, v in tensors.items() if n.startswith("ema.")}


def test_the_exported_weights_are_the_averaged_ones(trained):
    plan, path = trained
    expected, found = averaged(plan), torch.load(path, weights_only=True)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def start(monkeypatch):
    """Open the directory of a run, and return the trainer before its first step."""

    class Begun(Exception):  # noqa: N818
        pass

    def stop(_directory, trainer):
        raise Begun(trainer)

    def begin(plan):
        monkeypatch.setattr("ditbench.runs.run.Saver", stop)
        with pytest.raises(Begun) as begun:
            execute(plan)
        return begun.value.args[0]

    return begin


@pytest.mark.parametrize("by", ["file", "run"])
def test_a_run_starts_from_the_weights_and_its_average_does(trained, make_plan, by, start):
    first, path = trained
    plan = make_plan(**DDPM, init__path=str(path if by == "file" else first.directory.path))
    trainer, expected = start(plan), averaged(first)
    for model in (trainer.model, trainer.ema.model):
        state = model.state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_digest_is_part_of_the_fingerprint_and_the_path_is_not(trained, make_plan, tmp_path):
    _, path = trained
    plan, plain = make_plan(**DDPM, init__path=str(path)), make_plan(**DDPM)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    assert plan.config.fingerprint != plain.config.fingerprint
    assert make_plan(**DDPM, init__path=str(copy)).config.fingerprint == plan.config.fingerprint
    with pytest.raises(DitbenchError, match="its SHA-256 differs"):
        make_plan(**DDPM, init__path=str(path), init__sha256="0" * 64)
    with pytest.raises(DitbenchError, match=r"without init\.path"):
        make_plan(**DDPM, init__sha256="0" * 64)
    assert "init" not in plain.config.to_toml()


def test_a_run_that_has_begun_needs_the_file_no_more(trained, make_plan, tmp_path):
    _, path = trained
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    plan = make_plan(**DDPM, init__path=str(copy))
    result = execute(plan)
    record = json.loads(plan.directory.environment.read_text())[RECORD]
    assert record == plan.notes[RECORD]
    assert (record["fresh"], record["unused"]) == ("nothing", "nothing")
    copy.unlink()
    again = make_plan(**DDPM, init__path=str(copy), init__sha256=plan.config.init.sha256)
    assert again.directory.path == plan.directory.path
    assert execute(again)["fingerprint"] == result["fingerprint"]
    fresh = make_plan(out=tmp_path / "other", **DDPM, init__path=str(copy),
                      init__sha256=plan.config.init.sha256)  # fmt: skip
    with pytest.raises(DitbenchError, match="does not exist") as raised:
        execute(fresh)
    assert raised.value.exit_code == 1
    assert not fresh.directory.path.exists() or not fresh.directory.config.exists()


def test_a_run_that_was_interrupted_resumes_without_loading_again(trained, make_plan):
    _, path = trained
    plan = make_plan(**DDPM, init__path=str(path))
    whole = execute(plan)
    end = averaged(plan)
    plan.directory.result.unlink()
    plan.directory.checkpoint.with_name("previous.safetensors").replace(plan.directory.checkpoint)
    again = execute(make_plan(**DDPM, init__path=str(path)))
    assert again["final"]["fid_40"] == whole["final"]["fid_40"]
    assert all(torch.equal(value, end[name]) for name, value in averaged(plan).items())


def test_another_block_takes_what_is_shared_and_says_what_is_fresh(trained, make_plan, start):
    _, path = trained
    plan = make_plan(**DDPM, block="cross-attention", init__path=str(path))
    words = in_words(plan.notes)
    assert f"26 weights from {path}; starts fresh: blocks.*.cross_attn" in words
    assert "blocks.*.adaLN_modulation.1.weight (expected none, found 96x16)" in words
    assert "blocks.*.attn" not in words
    weights, drawn = read_weights(path), build_trainer(plan).model.state_dict()
    for name, value in start(plan).model.state_dict().items():
        assert torch.equal(value, (drawn if "cross_attn" in name else weights)[name])


def test_weights_of_another_objective_are_refused_before_anything_is_written(
    trained, make_plan, tmp_path
):
    _, path = trained
    message = r"final_layer.linear.weight \(expected 4x16, found 8x16\)"
    with pytest.raises(DitbenchError, match=message) as raised:
        make_plan(objective__name="flow", init__path=str(path))
    assert "16x2x?/2 on 8x8x1, 2 channels out, 11 class embeddings" in raised.value.hint
    assert not (tmp_path / "results").exists()


def of_weights(path, **values):
    table = {"preset": "weights", "init.path": str(path), "objective.name": "ddpm",
             "model.hidden_size": 16, "model.depth": 2, "model.num_heads": 2, "eval.samples": 40,
             "eval.sampling_steps": 2, "eval.batch_size": 16, "budget.steps": 6}  # fmt: skip
    return load_config(
        "digits", overrides=table | {k.replace("__", "."): v for k, v in values.items()}
    )


def test_scores_of_the_file_are_those_of_the_run(trained, tmp_path, monkeypatch):
    from ditbench.runs.scoring.rescore import Reporter, rescore
    from ditbench.training.stop import StopRequest

    class Silent(Reporter):
        pass

    plan, path = trained
    monkeypatch.chdir(tmp_path)
    (job,) = plan_weights(of_weights(path), [{"eval__cfg_scale": None}], 1, torch.device("cpu"))
    ((_, content),) = rescore([job], Silent(), StopRequest())
    (draw,), final = content["draws"], plan.directory.read_result()["final"]
    metrics = ("fid_40", "kid_40", "recall_40", "label_accuracy")
    assert [draw[name] for name in metrics] == [final[name] for name in metrics]
    assert job.path.parents[2] == Path("results/weights")
    assert job.left == 0


def test_weights_that_lack_some_of_the_model_are_not_sampled(trained):
    _, path = trained
    with pytest.raises(DitbenchError, match=r"it lacks weights of the model: blocks.*cross_attn"):
        open_weights(of_weights(path, block="cross-attention"), "cpu")


def test_without_a_null_class_nothing_is_guided(make_plan, made, tmp_path):
    plan = make_plan(out=made, **DDPM, model__class_dropout_prob=0.0)
    execute(plan)
    path = tmp_path / "without.safetensors"
    export_weights(plan.directory.path, path)
    assert read_weights(path)["y_embedder.embedding_table.weight"].shape == (10, 16)
    cpu = torch.device("cpu")
    (job,) = plan_weights(of_weights(path), [{}], 1, cpu)
    assert job.plan.config.model.class_dropout_prob == 0
    with pytest.raises(DitbenchError, match="needs a model that was trained without labels"):
        plan_weights(of_weights(path), [{"eval__cfg_scale": 2.0}], 1, cpu)
    opened = open_weights(of_weights(path, model__class_dropout_prob=0.0), "cpu")
    assert opened.task.dataset.num_classes == 10
    plan = make_plan(**DDPM, init__path=str(path))  # with dropout: the null class is learned
    assert "the null class starts fresh" in in_words(plan.notes)


def test_an_export_to_diffusers_needs_its_block(make_plan, made, tmp_path, trained):
    first, _ = trained
    path = tmp_path / "out.safetensors"
    export_weights(first.directory.path, path, diffusers=True)
    state = averaged(first)
    assert all(torch.equal(value, state[name]) for name, value in read_weights(path).items())
    assert recognise(path) == recognise(first.directory.path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(DitbenchError, match=r"config\.json is not of a DiT"):
        export_weights(first.directory.path, path, diffusers=True)
    theirs, config = tmp_path / "theirs.json", '{"_class_name": "DiTTransformer2DModel"}'
    for target in ("theirs.json", "nowhere.json"):  # what a link leads to is not ours
        theirs.write_text(config)
        (tmp_path / "config.json").unlink()
        (tmp_path / "config.json").symlink_to(target)
        with pytest.raises(DitbenchError, match=rf"config\.json is a link to {target}"):
            export_weights(first.directory.path, path, diffusers=True)
        assert (tmp_path / "config.json").readlink() == Path(target)
        assert theirs.read_text() == config
        assert not (tmp_path / "nowhere.json").exists()
    plan = make_plan(out=made, **DDPM, block="in-context")
    execute(plan)
    with pytest.raises(DitbenchError, match="diffusers has no block in-context"):
        export_weights(plan.directory.path, path, diffusers=True)
    with pytest.raises(DitbenchError, match="is not a run directory: it has no config"):
        export_weights(tmp_path, path)
    shutil.rmtree(plan.directory.path / "checkpoints")
    with pytest.raises(DitbenchError, match="has no checkpoint"):
        export_weights(plan.directory.path, path)
    with pytest.raises(DitbenchError, match=r"end -o with|cannot write weights"):
        export_weights(first.directory.path, tmp_path / "out.bin")


@pytest.mark.parametrize("dropped", [0.1, 0.0])  # without: its null class is not trained
def test_diffusers_loads_an_export_to_it(tmp_path, make_plan, made, dropped):
    diffusers = pytest.importorskip("diffusers")
    run = make_plan(out=made, **DDPM, model__class_dropout_prob=dropped)
    execute(run)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    said = export_weights(run.directory.path, path, diffusers=True)
    assert ("do not guide" in said) == (not dropped)
    theirs = diffusers.DiTTransformer2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert theirs.config.sample_size == 8
    loaded = from_diffusers(theirs.state_dict())
    assert all(torch.equal(loaded[name], value) for name, value in read_weights(path).items())


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["plain", "compile", "kernels"])
def test_a_run_on_a_gpu_starts_from_the_weights_and_scores_them(trained, tmp_path, backend, start):
    """The models are built for a backend and in a CUDA graph before the weights are loaded."""
    first, path = trained
    config = of_weights(path, train__backend=backend, train__precision="bf16", budget__steps=40)
    (plan,) = plan_all([config], tmp_path / "results", torch.device("cuda"))
    trainer, expected = start(plan), averaged(first)
    for model in (trainer.model, trainer.ema.model):
        assert all(torch.equal(v.cpu(), expected[name]) for name, v in model.state_dict().items())
    before = expected["blocks.1.mlp.fc2.weight"]
    for _ in range(3):
        trainer.update()
    moved = (trainer.model.state_dict()["blocks.1.mlp.fc2.weight"].cpu() - before).abs().max()
    assert 0 < moved < 0.01  # three steps from the weights, not from the initial ones
