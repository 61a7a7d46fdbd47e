"""What reference runs measured of presets."""

import json
import statistics
from pathlib import Path

import pytest

from ditbench.config.load import presets
from ditbench.report.measured import describe_presets

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
NUMBERS = {"minutes", "fid", "fid_sd", "seeds", "device", "images"}


def _rows(*places):
    return {row["preset"]: row for row in describe_presets(places)}


def _results(directory):
    return [json.loads(path.read_text()) for path in REFERENCE.glob(f"{directory}/*/result.json")]


def test_numbers_are_means_of_the_reference_runs():
    """Those in `digits` shared a CPU: minutes are the pilot's."""
    row = _rows(REFERENCE, REFERENCE / "pilot")["digits"]
    fids = [run["final"]["fid_1k"] for run in _results("digits/adaln-zero")]
    assert row["seeds"] == len(fids) > 1
    assert row["fid"] == pytest.approx(statistics.mean(fids))
    assert row["fid_sd"] == pytest.approx(statistics.stdev(fids))
    pilot = _results("pilot/digits/adaln-zero")
    seconds = [run["train_seconds"] + run["eval_seconds"] for run in pilot]
    assert row["minutes"] == pytest.approx(statistics.mean(seconds) / 60)
    assert row["device"] == "AMD EPYC, 2 threads"
    assert row["images"] is None


def test_scores_are_of_all_devices_and_minutes_of_one():
    row = _rows(REFERENCE)["cifar10-ddpm"]
    runs = _results("cifar10-ddpm/adaln-zero")
    assert row["seeds"] == len(runs)
    assert row["fid"] == pytest.approx(statistics.mean(run["final"]["fid_10k"] for run in runs))
    on_it = [run for run in runs if run["device"] == row["device"]]
    assert 0 < len(on_it) < len(runs)
    seconds = [run["train_seconds"] + run["eval_seconds"] for run in on_it]
    assert row["minutes"] == pytest.approx(statistics.mean(seconds) / 60)


def test_runs_with_other_settings_do_not_count():
    """Runs of the pilot have the preset cifar10; some train with ddpm, at 2e-4 or clipped."""
    row = _rows(REFERENCE, REFERENCE / "pilot")["cifar10"]
    runs = REFERENCE.glob("pilot/cifar10/adaln-zero/*/result.json")
    fids = [json.loads(path.read_text())["final"]["fid_10k"] for path in runs]
    assert (row["seeds"], row["images"]) == (len(fids), "cifar10-train")
    assert row["fid"] == pytest.approx(statistics.mean(fids))


def test_without_runs_a_preset_has_its_settings_only(tmp_path):
    for rows in (_rows(), _rows(tmp_path / "nowhere")):
        assert list(rows) == presets()
        assert not any(NUMBERS & {*row} for row in rows.values())
        assert rows["cifar10-s2"]["model"] == "S/2"
        assert rows["digits"]["summary"].startswith("Real handwritten digits, 8x8")
