"""What runs share, and commands that really give the same runs again."""

import shlex

import pytest

from ditbench.config import load
from ditbench.report.html.origin import origin
from ditbench.report.reading.results import load_results


def final(results):
    frame = load_results(results)
    return frame[frame["final"]]


def repeated(found, tmp_path):
    """The (block, seed, fingerprint) of the runs that the commands make."""
    file = tmp_path / "shared.toml"
    file.write_text(found.toml)
    runs = set()
    for command in found.commands:
        words = shlex.split(command)
        assert words[:4] == ["ditbench", "run", "--config", "shared.toml"]
        options = list(zip(words[4::2], words[5::2], strict=True))
        given = dict(options)
        settings = tuple(value for name, value in options if name == "--set")
        seeds = given["--seeds"]
        numbers = [int(n) for n in seeds.split(",") if n] if "," in seeds else range(int(seeds))
        for block in given["--block"].split(","):
            config = load(file=file, settings=settings, overrides={"block": block})
            runs |= {(block, seed, config.fingerprint) for seed in numbers}
    return runs


def expected(runs):
    return set(runs[["block", "seed", "fingerprint"]].itertuples(index=False, name=None))


def test_commands_repeat_the_runs(make_run, results, tmp_path):
    for block, seeds in (("adaln", (0, 1)), ("adaln-zero", (0, 1)), ("in-context", (4,))):
        for seed in seeds:
            make_run(block, seed, model__depth=3, budget__steps=77, train__grad_clip=0.5)
    runs = final(results)
    found = origin(runs)
    assert repeated(found, tmp_path) == expected(runs)
    assert len(found.commands) == 2


def test_settings_of_a_blocks_own_are_options(make_run, results, tmp_path):
    make_run("adaln", 0, train__lr=1e-3)
    make_run("adaln-zero", 0, train__lr=2.5e-4, data__path="a b'\"#=.zip")
    runs = final(results)
    found = origin(runs)
    assert repeated(found, tmp_path) == expected(runs)
    rates = next(each for each in found.settings["train"] if each.key == "lr")
    assert not rates.is_shared
    assert "0.001 (1 run)" in rates.text
    assert "0.00025 (1 run)" in rates.text


def test_what_all_share_is_marked_so(make_run, results):
    for seed in (0, 1):
        make_run("adaln", seed)
    found = origin(final(results))
    assert all(each.is_shared for rows in found.settings.values() for each in rows)
    assert ("batch_size", "128", True) in found.settings["train"]
    assert found.environment[""] == [("python", "3.11", True)]
    assert not found.own_sources
    assert not found.continued


def test_a_damaged_environment_is_left_out(make_run, results):
    for seed in (0, 1):
        run = make_run("adaln", seed, schema=1)
    run.environment.write_text("{")
    found = origin(final(results))
    assert found.environment[""] == [("python", "3.11", True)]


@pytest.mark.parametrize(
    ("seeds", "text"), [((0, 1, 2), "3"), ((0,), "0,"), ((7,), "7,"), ((2, 1), "1,2")]
)
def test_seeds_as_an_option(make_run, results, seeds, text):
    for seed in seeds:
        make_run("adaln", seed)
    (command,) = origin(final(results)).commands
    assert command.endswith(f"--seeds {text}")
