"""Damaged run directories: commands that take one or two runs say what is wrong."""

import shutil

import pytest
from contract import assert_one_line, in_time, tree
from run_copies import write_copy
from test_hostile_runs import DAMAGE


@pytest.mark.parametrize("name", DAMAGE)
def test_no_damage_ends_in_a_traceback(cli, reference, tmp_path, name):
    damage, _ = DAMAGE[name]
    good = write_copy(reference, tmp_path / "results", "kept", 0)
    run = write_copy(reference, tmp_path / "results", "damaged", 1)
    damage(run)
    for complete in (True, False):
        if not complete and (run / "result.json").is_dir():
            shutil.rmtree(run / "result.json")
        elif not complete:
            (run / "result.json").unlink(missing_ok=True)
        before = tree(tmp_path)
        commands = [("list", tmp_path / "results"), ("show", run), ("diff", good, run)]
        if not any(word in name for word in ("gigabytes", "deeper")):  # those take long
            commands.append(("run", "--continue", run, "--steps", "9000"))
            # Refused after all files are read, before anything is trained.
            commands.append(("reproduce", run, "--device", "cpu", "--gpus", "4096"))
        for command in commands:
            with in_time():
                result = cli(*command)
            error = result.exception
            assert error is None or isinstance(error, SystemExit), (command, repr(error))
            for line in result.stderr.splitlines():
                assert_one_line(line)
                assert line.startswith(("error: ", "help: ", "skipped: ", "warning: ")), line
        assert tree(tmp_path) == before
