"""Samples as files: those of the run's own score, and the same pixels after an interruption."""

import json
import signal
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from ditbench.errors import DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scorer import Scorer, Space
from ditbench.runs.run import execute
from ditbench.runs.scoring.export import export_samples
from ditbench.runs.scoring.export_files import RECORD
from ditbench.runs.scoring.trained import open_run
from ditbench.training.stop import Stopped, StopRequest

SETTINGS = {"eval__cfg_scale": None, "seed": None}


def export(plan, path, *, count=None, classes=None, stop=None, device="cpu", **settings):
    opened = open_run(plan.directory.path, SETTINGS | settings, device, trust=False)
    stop = StopRequest() if stop is None else stop
    return export_samples(opened, path, count=count, classes=classes, stop=stop)


def pictures(path):
    """The PNGs of a folder in the order of their names: (N, H, W)."""
    return np.stack([np.asarray(Image.open(file)) for file in sorted(path.glob("*.png"))])


@pytest.fixture
def run(make_plan, made):
    """A complete run whose sampler adds noise; its final score takes more steps: read only."""
    plan = make_plan(out=made, objective__name="ddpm", eval__final_sampling_steps=4)
    execute(plan)
    return plan


@pytest.mark.parametrize("name", ["images", "images.npz"])
def test_scoring_what_was_exported_gives_the_scores_of_the_run(run, tmp_path, name):
    path = tmp_path / name
    assert export(run, path) == (40, False)
    if path.is_dir():
        images = pictures(path)[..., None]
        labels = [int(file.stem.split("-")[1]) for file in sorted(path.glob("*.png"))]
    else:
        with np.load(path) as arrays:
            assert arrays.files == ["arr_0", "arr_1"]
            images, labels = arrays["arr_0"], arrays["arr_1"].tolist()
    assert (images.shape, images.dtype) == ((40, 8, 8, 1), np.uint8)
    extractor = create_extractor("digits", run.dataset)
    scorer = Scorer([Space(extractor, compute_statistics(run.dataset.images, extractor))])
    scorer.update(torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(labels))
    final = run.directory.read_finals()[0]
    # Features are computed in other batches.
    assert scorer.compute()["fid"] == pytest.approx(final["fid_40"], rel=1e-6)
    assert scorer.compute()["label_accuracy"] == pytest.approx(final["label_accuracy"])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", ["images", "images.npz"])
def test_an_export_that_was_stopped_ends_with_the_same_pixels(run, tmp_path, name, device):
    whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
    export(run, whole, device=device)
    stops = 0
    for _ in range(5):
        stop = StopRequest()

        def ask(activity, done, parts, stop=stop):
            if done == 5:  # in the second of the batches that are left, which have 4 passes each
                stop.number = signal.SIGINT

        stop.show = ask
        try:
            export(run, parts, stop=stop, device=device)
        except Stopped:
            stops += 1
    assert stops == 2  # 40 images in batches of 16
    if whole.is_dir():
        assert (pictures(whole) == pictures(parts)).all()
        assert len(pictures(parts)) == 40
    else:
        assert not list(parts.parent.glob("*.part"))
        with np.load(whole) as one, np.load(parts) as other:
            assert (one["arr_0"] == other["arr_0"]).all()
            assert (one["arr_1"] == other["arr_1"]).all()


@pytest.mark.parametrize("name", ["images", "images.npz"])
def test_a_complete_export_is_left_alone(run, tmp_path, name, monkeypatch):
    path = tmp_path / name
    export(run, path)
    monkeypatch.setattr("ditbench.runs.scoring.export.averaged_model", None)
    assert export(run, path) == (40, True)


@pytest.mark.parametrize("name", ["images", "images.npz"])
@pytest.mark.parametrize(
    "other", [{"count": 41}, {"classes": ["3"]}, {"eval__cfg_scale": 2.0}, {"seed": 5}]
)
def test_an_export_of_other_settings_is_not_mixed_with_it(run, tmp_path, name, other):
    path = tmp_path / name
    export(run, path)
    with pytest.raises(DitbenchError, match="is not this export"):
        export(run, path, **other)


@pytest.mark.parametrize("name", ["images", "images.npz"])
def test_files_of_another_origin_are_not_touched(run, tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"mine")
    else:
        path.mkdir()
        (path / "mine.png").write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DitbenchError, match="is not this export"):
        export(run, path)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(run, tmp_path):
    (tmp_path / "images").mkdir()
    export(run, tmp_path / "images", count=1)
    files = {each.name for each in (tmp_path / "images").iterdir()}
    assert files == {RECORD, "000000-0.png"}


def test_chosen_classes_take_turns(run, tmp_path):
    export(run, tmp_path / "x.npz", count=5, classes=["7", "2"])
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["arr_1"].tolist() == [7, 2, 7, 2, 7]
    with ZipFile(tmp_path / "x.npz") as archive:
        assert json.loads(archive.comment)["classes"] == ["7", "2"]


def test_more_images_begin_with_the_same_ones(run, tmp_path):
    """Up to the last whole batch of the smaller number: 32 of 40."""
    export(run, tmp_path / "few")
    export(run, tmp_path / "many", count=70)
    few, many = pictures(tmp_path / "few"), pictures(tmp_path / "many")
    assert (few[:32] == many[:32]).all()
    assert len(many) == 70


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "000003-3.png").unlink(), "1 of the 40 images .* are gone"),
        (lambda path: (path / RECORD).write_text("["), "is not JSON"),
        (lambda path: (path / RECORD).write_text("{}"), "is not this export"),
    ],
)
def test_a_damaged_export_is_one_line(run, tmp_path, damage, reason):
    path = tmp_path / "images"
    export(run, path)
    damage(path)
    with pytest.raises(DitbenchError, match=reason):
        export(run, path)


@pytest.mark.parametrize("noise", [None, {}, {"start": "AAAA", "ancestral": "AAAA"}])
def test_a_record_without_the_noise_is_one_line(run, tmp_path, noise):
    path = tmp_path / "images"
    export(run, path)
    record = json.loads((path / RECORD).read_text())
    (path / RECORD).write_text(json.dumps(record | {"written": 16, "noise": noise}))
    with pytest.raises(DitbenchError, match="does not hold the state of the noise"):
        export(run, path)


def test_names_of_classes_become_safe_names_of_files(make_plan, tmp_path):
    digits = make_plan().dataset
    names = ["a/b", "a b", "..", "cat", "ü", "x" * 300, "7", "8", "9", "new\nline"]
    path = tmp_path / "named.npz"
    np.savez(
        path, images=digits.images[:100, 0].numpy(), labels=digits.labels[:100].numpy(),
        class_names=np.array(names),
    )  # fmt: skip
    plan = make_plan(data__name="npz", data__path=str(path))
    execute(plan)
    export(plan, tmp_path / "out", count=10)
    files = sorted(file.name for file in (tmp_path / "out").glob("*.png"))
    assert files[:5] == [
        "000000-0-a-b.png", "000001-1-a-b.png", "000002-2-...png", "000003-3-cat.png",
        "000004-4-ü.png",
    ]  # fmt: skip
    assert files[9] == "000009-9-new-line.png"
    assert max(map(len, files)) < 100


def test_classes_in_the_proportions_of_the_data_need_the_data(make_plan, tmp_path):
    plan = make_plan(eval__labels="data")
    execute(plan)
    export(plan, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        counts = np.bincount(arrays["arr_1"], minlength=10)
    assert counts.tolist() == [4] * 10  # digits are about balanced
