"""What is checked before anything is trained or written."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ditbench.data import dataset as data
from ditbench.errors import DitbenchError
from ditbench.runs.planning import plan as planning
from ditbench.runs.planning import ready
from ditbench.runs.planning.calibrate import forecast
from ditbench.runs.planning.ready import check_ready, check_writable


def files_below(path):
    return sorted(path.rglob("*"))


def test_a_place_that_can_be_written_is_left_as_it_is(make_plan, tmp_path):
    (extractor,) = check_ready([make_plan(), make_plan(seed=1)]).values()
    assert extractor.name == "digits"
    assert files_below(tmp_path) == []


def test_a_file_in_the_way_is_found_by_run_and_dry_run(make_plan, tmp_path):
    (tmp_path / "results").write_text("a file")
    plans = [make_plan()]
    for attempt in (check_ready, lambda plans: list(forecast(plans, lambda _text: None))):
        with pytest.raises(DitbenchError, match=r"cannot write .*: Not a directory") as raised:
            attempt(plans)
        assert raised.value.exit_code == 1


def test_checkpoints_need_room(make_plan, monkeypatch):
    plans = [make_plan(seed=seed) for seed in range(3)]
    size = 16 * plans[0].cost.parameters
    for free, fits in ((7 * size, True), (7 * size - 1, False)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(ready.shutil, "disk_usage", lambda _place, usage=usage: usage)
        if fits:
            check_ready(plans)
        else:
            with pytest.raises(DitbenchError, match="too little space for checkpoints"):
                check_ready(plans)


def test_missing_weights_are_found_by_a_dry_run(make_plan, tmp_path):
    weights = tmp_path / "nowhere.pth"
    plan = make_plan(metrics__features="inception", metrics__inception_weights=str(weights))
    with pytest.raises(DitbenchError, match=r"cannot read .*Inception-v3 weights .*nowhere\.pth"):
        list(forecast([plan], lambda _text: None))


def test_a_single_real_image_is_refused_before_training(make_plan, monkeypatch):
    original = planning.load_dataset

    def one_image(*arguments):
        whole = original(*arguments)
        return data.ImageDataset(whole.name, whole.images[:1], whole.labels[:1], ("0",))

    monkeypatch.setattr(planning, "load_dataset", one_image)
    with pytest.raises(DitbenchError, match="has 1 image, and FID needs at least 2"):
        make_plan(train__batch_size=1)


def test_the_file_of_a_table_is_checked_before_it_is_made(tmp_path):
    check_writable(tmp_path / "deep" / "table.csv")
    (tmp_path / "table.csv").write_text("old")
    check_writable(tmp_path / "table.csv")
    with pytest.raises(DitbenchError, match="cannot write"):
        check_writable(Path(tmp_path / "table.csv" / "below"))
    assert [path.name for path in files_below(tmp_path)] == ["table.csv"]


def test_an_output_is_checked_where_its_link_leads(tmp_path):
    (tmp_path / "file").write_text("")
    for name, target in (("good", "deep/table.csv"), ("bad", "file/table.csv")):
        (tmp_path / name).symlink_to(target)
    check_writable(tmp_path / "good")
    check_writable(Path("/dev/null"))
    with pytest.raises(DitbenchError, match="cannot write"):
        check_writable(tmp_path / "bad")
