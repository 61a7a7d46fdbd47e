"""A whole run: its directory, its repetition, its resumption."""

import csv
import json
import math

import pytest
import torch
from ditbench.training.train import Trainer
from PIL import Image

from ditbench.data.dataset import NotNumbers
from ditbench.data.digits import load_digits
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.models.registry import block_names
from ditbench.rundir import TRAIN_COLUMNS
from ditbench.training import plan as plan_module
from ditbench.training import run as run_module
from ditbench.training.checkpoint import load_ema
from ditbench.training.environment import select_device
from ditbench.training.evaluate import balanced_labels, sample_images
from ditbench.training.parts import build_model
from ditbench.training.plan import plan_all
from ditbench.training.run import Evaluated, Finished, Started, execute


def ignore(_event):
    pass


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


WALL_CLOCK = {"seconds", "sampling_seconds", "eval_seconds"}


def without_clocks(path):
    return [
        {name: value for name, value in row.items() if name not in WALL_CLOCK} for row in rows(path)
    ]


def test_a_run_leaves_what_the_design_says(make_plan):
    plan = make_plan()
    events = []
    result = execute(plan, events.append)
    directory = plan.directory
    assert directory.path.name == f"seed0-{plan.config.fingerprint[:8]}"
    assert [row["step"] for row in rows(directory.train)] == list("123456")
    assert tuple(rows(directory.train)[0]) == TRAIN_COLUMNS
    evaluations = rows(directory.evaluations)
    assert [row["step"] for row in evaluations] == ["2", "4", "6"]
    assert {"fid_40", "kid_40", "label_accuracy", "features", "cfg_scale"} <= {*evaluations[0]}
    for step in (2, 4, 6):
        with Image.open(directory.samples(step)) as grid:
            assert grid.mode == "RGB"
            assert grid.width > grid.height
    assert json.loads(directory.result.read_text()) == {"schema": 1, **result}
    assert result["final"]["step"] == 6
    assert result["train_flops"] == plan.cost.train_flops_per_image * 6 * 16
    assert result["steps_per_second"] == pytest.approx(6 / result["train_seconds"])
    assert isinstance(events[0], Started)
    assert [event.row["step"] for event in events if isinstance(event, Evaluated)] == [2, 4, 6]
    assert isinstance(events[-1], Finished)
    environment = json.loads(directory.environment.read_text())
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]


def test_a_complete_run_is_not_run_again(make_plan, monkeypatch):
    first = execute(make_plan(), ignore)
    monkeypatch.setattr(run_module, "build_trainer", None)
    events = []
    assert execute(make_plan(), events.append) == {"schema": 1, **first}
    assert [event.reused for event in events] == [True]


@pytest.mark.parametrize("objective", ["flow", "ddpm"])
@pytest.mark.parametrize("block", block_names())
def test_an_interrupted_run_ends_as_the_uninterrupted_one(make_plan, tmp_path, block, objective):
    options = {"block": block, "objective__name": objective}
    whole = make_plan(out=tmp_path / "whole", **options)
    execute(whole, ignore)

    broken = make_plan(out=tmp_path / "broken", **options)

    def interrupt(event):
        # Between two evaluations, so that rows have been written which must be taken back.
        if getattr(event, "step", None) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(broken, interrupt)
    assert not broken.directory.is_complete()
    events = []
    execute(broken, events.append)
    assert events[0].step == 4
    for name in ("train", "evaluations"):
        one, two = getattr(whole.directory, name), getattr(broken.directory, name)
        assert without_clocks(one) == without_clocks(two)
    assert without_clocks(whole.directory.train)[-1]["step"] == "6"
    final = [
        build_model(plan.config, plan.dataset, plan.objective, plan.device)
        for plan in (whole, broken)
    ]
    for plan, model in zip((whole, broken), final, strict=True):
        assert load_ema(plan.directory.checkpoint, model) == 6
    one, two = (model.state_dict() for model in final)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_block_and_step_is_sampled_from_the_same_noise(make_plan):
    """At the start every model predicts zero, so the samples are the noise itself."""
    samples = []
    for block in block_names():
        plan = make_plan(block=block)
        model = build_model(plan.config, plan.dataset, plan.objective, plan.device)
        labels = balanced_labels(40, 10)
        samples.append(sample_images(model, plan.config, plan.objective, plan.dataset, labels))
    assert samples[0].float().std() > 50
    assert all(torch.equal(samples[0], other) for other in samples[1:])


@pytest.mark.parametrize("batch", [0, 2])
def test_samples_that_hold_nan_are_refused_whatever_batch_they_are_in(
    make_plan, monkeypatch, batch
):
    plan = make_plan(eval__batch_size=10)
    model = build_model(plan.config, plan.dataset, plan.objective, plan.device)
    original, batches = plan.objective.sample, []

    def sample(*args, **options):
        x = original(*args, **options)
        if len(batches) == batch:
            x[3, 0, 1, 1] = math.nan
        batches.append(x)
        return x

    monkeypatch.setattr(plan.objective, "sample", sample)
    with pytest.raises(NotNumbers, match="diverged") as caught:
        sample_images(model, plan.config, plan.objective, plan.dataset, balanced_labels(40, 10))
    assert caught.value.exit_code == EXIT_FAILED


def test_balanced_labels_take_every_class_in_turn():
    assert balanced_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_averaged_weights_are_what_is_evaluated(make_plan, monkeypatch):
    plan = make_plan()
    models = []
    original = run_module.Evaluator.__call__

    def spy(self, model, stop):
        models.append(model)
        return original(self, model, stop)

    monkeypatch.setattr(run_module.Evaluator, "__call__", spy)
    execute(plan, ignore)
    saved = build_model(plan.config, plan.dataset, plan.objective, plan.device)
    load_ema(plan.directory.checkpoint, saved)
    assert len(set(map(id, models))) == 1
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, saved.state_dict()[name])


def test_auto_is_resolved_before_the_fingerprint(make_plan):
    auto = make_plan(eval__sampler="auto", train__precision="auto").config
    named = make_plan(eval__sampler="euler", train__precision="fp32").config
    assert auto == named
    assert auto.fingerprint == named.fingerprint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train__batch_size": 2000}, "batch size 2000 is larger than the data"),
        ({"model__patch_size": 3}, "patch size 3 does not divide 8x8"),
        ({"block": "adaln-one"}, "unknown block 'adaln-one'"),
        ({"objective__name": "dpm"}, "unknown objective 'dpm'"),
        ({"eval__sampler": "ddim"}, "unknown sampler of flow 'ddim'"),
        ({"metrics__features": "digit"}, "unknown features 'digit'"),
        ({"eval__samples": 9}, "eval.samples = 9 is fewer than the 10 classes"),
        ({"data__digest": "0" * 64}, "are not those that this configuration was made for"),
        ({"objective__learn_sigma": False}, "flow has no option 'learn_sigma'"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    make_plan, tmp_path, values, message
):
    with pytest.raises(DitbenchError, match=message) as raised:
        make_plan(out=tmp_path / "out", **values)
    assert raised.value.hint
    assert not (tmp_path / "out").exists()


def test_building_and_training_leave_the_global_stream_alone(make_plan):
    before = torch.random.get_rng_state()
    execute(make_plan(), ignore)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_images_at_the_same_path_are_another_run(make_plan, tmp_path):
    path = tmp_path / "images"
    for label in range(10):
        (path / str(label)).mkdir(parents=True)
        for index in range(2):
            image = Image.new("L", (8, 8), label * 20 + index)
            image.save(path / str(label) / f"{index}.png")
    options = {"data__name": "folder", "data__path": str(path), "eval__samples": 20}
    first = make_plan(**options)
    execute(first, ignore)
    Image.new("L", (8, 8), 255).save(path / "0" / "0.png")
    second = make_plan(**options)
    assert first.directory.path != second.directory.path
    assert not second.directory.is_complete()


def test_out_of_memory_says_what_to_lower(make_plan, monkeypatch):
    def no_room(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "update", no_room)
    with pytest.raises(DitbenchError, match="batch size 16 in training") as raised:
        execute(make_plan(), ignore)
    assert raised.value.exit_code == 1
    assert "--batch-size 8" in raised.value.hint


def test_runs_on_the_same_images_read_them_once(make_plan, tmp_path, monkeypatch):
    configs = [
        make_plan(block=block, seed=seed).config for block in block_names() for seed in (0, 1)
    ]
    read = []

    def load_dataset(name, path):
        read.append((name, path))
        return load_digits()

    monkeypatch.setattr(plan_module, "load_dataset", load_dataset)
    plans = plan_module.plan_all(configs, tmp_path, torch.device("cpu"))
    assert read == [("digits", None)]
    assert [plan.config for plan in plans] == configs


def test_a_strategy_s_options_are_filled_in_and_told_apart(make_plan):
    """Its default is in the fingerprint, and is the same run as the same number given."""
    default = make_plan(block="adaln-lora")
    assert default.config.options == {"lora_rank": 4}  # a quarter of the hidden size
    assert "[options]\nlora_rank = 4\n" in default.config.to_toml()
    given = make_plan(block="adaln-lora", options={"lora_rank": 4})
    other = make_plan(block="adaln-lora", options={"lora_rank": 2})
    assert given.config.fingerprint == default.config.fingerprint
    assert other.config.fingerprint != default.config.fingerprint
    assert other.cost.parameters < default.cost.parameters
    model = build_model(other.config, other.dataset, other.objective, other.device)
    assert model.blocks[0].lora_down.weight.shape == (2, 16)


def test_an_option_is_kept_where_it_belongs_and_refused_elsewhere(make_plan, tmp_path):
    """`--block all` passes an option to those that have it; the others stay the runs they were."""
    base = make_plan().config
    with_option = base.with_values(options={"lora_rank": 2})
    device = torch.device("cpu")
    plans = plan_all(
        [with_option.with_values(block=name) for name in ("adaln", "adaln-lora")], tmp_path, device
    )
    assert [run.config.options for run in plans] == [{}, {"lora_rank": 2}]
    assert plans[0].config.fingerprint == make_plan(block="adaln").config.fingerprint
    with pytest.raises(DitbenchError, match="adaln has no option 'lora_rank'"):
        plan_all([with_option.with_values(block="adaln")], tmp_path, device)


@pytest.mark.parametrize(("name", "current"), [("cuda:1", ["cuda:1"]), ("cuda", []), ("cpu", [])])
def test_a_device_that_is_chosen_becomes_the_current_one(monkeypatch, name, current):
    """Streams and kernels would otherwise be those of the first GPU."""
    told = []
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(()))  # no GPU is here to ask
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: told.append(str(device)))
    assert str(select_device(name)) == name
    assert told == current
