"""Runs that were scored again: ranked by those scores, and damage that is found."""

import json

import pytest

from ditbench.errors import DitbenchError
from ditbench.report.reading.groups import split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.tables.comparisons import render_comparisons

NAME = "cfg1.5-ddim250-50k-digits"
METRICS = [
    {"name": "fid", "title": "FID", "direction": "lower", "format": ".2f", "scale": "log"},
    {"name": "coverage", "title": "Coverage", "direction": "higher", "format": ".3f"},
]


def write_eval(run, fids, name=NAME, **changes):
    """The file that `ditbench eval` writes for a run, with a draw for each of some FIDs."""
    result = run.read_result()
    row = {
        **{key: run.read_evaluations()[-1][key] for key in ("step", "images", "train_flops")},
        "seconds": 1.0,
        "features": "digits",
        "samples": 50_000,
        "sampler": "ddim",
        "sampling_steps": 250,
        "cfg_scale": 1.5,
        "ema_decay": 0.999,
    }
    content = {
        **{key: result[key] for key in ("block", "seed", "fingerprint", "steps", "dataset_digest")},
        "features_digest": "f" * 64,
        "metrics": METRICS,
        "draws": [
            {"draw": number, **row, "fid_50k": fid, "coverage_50k": fid / 100}
            for number, fid in enumerate(fids)
        ],
    }
    run.write_eval(name, content | changes)


@pytest.fixture
def runs(make_run):
    """Two blocks x two seeds; scored again, their order is the other way round."""
    made = []
    for seed in (0, 1):
        made.append(make_run("adaln", seed, (90.0, 8.0 + seed)))
        made.append(make_run("adaln-zero", seed, (90.0, 6.0 + seed)))
        write_eval(made[-2], (2.0 + seed, 4.0 + seed))
        write_eval(made[-1], (5.0 + seed, 5.0 + seed))
    return made


def test_each_run_has_one_row_of_the_means_over_its_draws(runs, results):
    frame = load_results(results, evaluation=NAME)
    assert frame["block"].tolist() == ["adaln-zero", "adaln-zero", "adaln", "adaln"]  # by path
    assert frame["fid"].tolist() == [5.0, 6.0, 3.0, 4.0]
    assert frame["coverage"].tolist() == pytest.approx([0.05, 0.06, 0.03, 0.04])
    assert "kid" not in frame  # the run's own
    facts = frame.iloc[0]
    expected = {
        "evaluation": NAME, "samples": 50_000, "sampler": "ddim", "sampling_steps": 250,
        "curve_sampling_steps": 250, "cfg_scale": 1.5, "draws": 2, "final": True, "curve": False,
    }  # fmt: skip
    assert {key: facts[key] for key in expected} == expected
    own = load_results(results)
    assert set(own["evaluation"]) == {""}
    assert own[own["final"]]["fid"].tolist() == [6.0, 7.0, 8.0, 9.0]
    assert facts["train_seconds"] == own["train_seconds"].iloc[0]


def test_blocks_are_ranked_by_it_and_the_heading_names_it(runs, results):
    comparison = compare(load_results(results, evaluation=NAME))
    assert comparison.table["block"].tolist() == ["adaln", "adaln-zero"]
    assert compare(load_results(results)).table["block"].tolist() == ["adaln-zero", "adaln"]
    assert comparison.heading.endswith(
        f"FID-50K, digits features, ddim, 250 sampling steps, guidance 1.5, evaluation {NAME}"
    )
    assert "evaluation" not in compare(load_results(results)).heading
    table = render_comparisons([comparison], "md", wide=True)
    assert "FID area" not in table
    assert "Coverage-50K" in table
    rows = json.loads(render_comparisons([comparison], "json"))["groups"][0]["rows"]
    assert {row["evaluation"] for row in rows} == {NAME}


def test_runs_that_were_evaluated_otherwise_along_the_way_are_ranked_together(make_run, results):
    write_eval(make_run("adaln", 0, (90.0, 8.0)), (2.0,))
    settings = {"eval__samples": 1_000, "eval__sampling_steps": 7}
    write_eval(make_run("adaln-zero", 0, (90.0, 50.0, 8.0), **settings), (3.0,))
    assert len(split_groups(load_results(results))) == 2
    assert len(split_groups(load_results(results, evaluation=NAME))) == 1


def test_a_run_without_it_is_named(runs, results):
    runs[0].eval(NAME).unlink()
    frame = load_results(results, evaluation=NAME)
    assert len(frame) == 3
    assert frame.attrs["skipped"] == [(str(runs[0].path), f"it has no evaluation {NAME}")]


@pytest.mark.parametrize("name", ["nope", "", "../result", "a\nb"])
def test_an_unknown_one_lists_those_that_there_are(runs, results, name):
    write_eval(runs[0], (1.0,), "cfg1-ddim50-2k-digits")
    with pytest.raises(DitbenchError, match="no complete run has an evaluation") as caught:
        load_results(results, evaluation=name)
    assert caught.value.hint == f"there are cfg1-ddim50-2k-digits (1 run), {NAME} (4 runs)"
    assert caught.value.message.isprintable()


def test_without_any_the_hint_says_how_to_make_one(make_run, results):
    make_run()
    with pytest.raises(DitbenchError) as caught:
        load_results(results, evaluation=NAME)
    assert "ditbench eval" in caught.value.hint


def test_scores_of_two_evaluations_are_ranked_apart(runs, results):
    import pandas as pd

    both = pd.concat([load_results(results, evaluation=NAME), load_results(results)])
    assert len(compare_groups(both)) == 2


DAMAGE = {
    "of another run": ({"fingerprint": "0" * 64}, "fingerprint is"),
    "of another seed": ({"seed": 9}, "seed is 9, that of the run 0"),
    "of other steps": ({"steps": 1}, "steps is 1"),
    "of other images": ({"dataset_digest": "x"}, "dataset_digest"),
    "no draw": ({"draws": []}, "holds no draw"),
    "no table": ({"draws": [3]}, "draws is not a list of tables"),
    "an empty draw": ({"draws": [{}]}, "step is missing"),
    "metrics without fid": ({"metrics": METRICS[1:]}, "metrics lacks fid"),
    "no metrics": ({"metrics": "x"}, "metrics"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_skips_the_run(runs, results, kind):
    changes, reason = DAMAGE[kind]
    write_eval(runs[0], (2.0,), **changes)
    ((path, found),) = load_results(results, evaluation=NAME).attrs["skipped"]
    assert path == str(runs[0].path)
    assert reason in found


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("draw", 5, "draw 5 is not 1"),
        ("cfg_scale", 4.0, "cfg_scale of draw 1 is 4.0, not"),
        ("fid_50k", "x", "fid_50k"),
        ("fid_50k", None, "fid_50k is missing"),
    ],
)
def test_draws_must_be_alike_and_whole(runs, results, key, value, reason):
    write_eval(runs[0], (2.0, 3.0))
    path = runs[0].eval(NAME)
    content = json.loads(path.read_text())
    content["draws"][1][key] = value
    path.write_text(json.dumps(content))
    ((_, found),) = load_results(results, evaluation=NAME).attrs["skipped"]
    assert reason in found


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', "{" * 10_000, "\x00"])
def test_a_file_that_is_no_evaluation_skips_the_run(runs, results, text):
    runs[0].eval(NAME).write_text(text)
    ((path, _),) = load_results(results, evaluation=NAME).attrs["skipped"]
    assert path == str(runs[0].path)
