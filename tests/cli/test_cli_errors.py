"""What a user can do wrong: one line, a `help:` line, the exit code, and nothing is written."""

import shutil
import zipfile
from unittest.mock import Mock

import pytest

from ditbench.plugins.user_traceback import BlockError

USAGE, FAILED = 2, 1

# Arguments, part of the error, part of the help; {...} are the places of `world`.
RUN = "run --block adaln "
CASES = [
    # Names
    ("run --block adaln-zreo", "unknown block 'adaln-zreo'", "adaln-zero"),
    ("run --block adaln,xyz", "unknown block 'xyz'", "known: in-context"),
    ("run --block ", "unknown block ''", "known:"),
    ("run --block paper,,none", "--block 'paper,,none' has an empty name", "join names"),
    (RUN + "--preset digit", "unknown preset 'digit'", "did you mean digits?"),
    (RUN + "--set train.lrr=1", "unknown key 'train.lrr'", "train.lr"),
    (RUN + "--set lr=1", "unknown key 'lr'", "did you mean train.lr?"),
    (RUN + "--set train.lr.x=1", "unknown key 'train.lr.x'", "train.lr"),
    (RUN + "--model XL2", "unknown model 'XL2'", "XL/2"),
    (RUN + "--model 0x1x1/2", "unknown model", "256x8x4/2"),
    (RUN + "--objective flo", "unknown objective 'flo'", "did you mean flow?"),
    (RUN + "--set eval.sampler=eulr", "eulr", "euler"),
    (RUN + "--set data.name=digit", "unknown data set 'digit'", "did you mean digits?"),
    (RUN + "--set metrics.features=incepton", "'incepton'", "did you mean inception?"),
    (RUN + "--device tpu", "no device 'tpu'", "--device"),
    (RUN + "--device cuda:99", "no device 'cuda:99'", "--device"),
    (RUN + "--precision fp4", "train.precision = 'fp4'", "train.precision"),
    ("flops --model M/2", "unknown model 'M/2'", "/2"),
    ("flops --input 32x32", "'32x32' is not an input size", "32x32x4"),
    ("flops --input 33x33x4", "patch size 2 does not divide 33x33", "--model"),
    ("flops --format jsn", "unknown format 'jsn'", "did you mean json?"),
    ("blocks --format xml", "unknown format 'xml'", ""),
    ("blocks -o blocks.txt", "unknown suffix '.txt'", "--format"),
    ("compare {results} --baseline adalnn", "unknown baseline 'adalnn'", "did you mean adaln"),
    ("compare {results} --format rich -o t.md", "rich tables are for the terminal", "--format"),
    ("plot {results} --kind curves", "unknown kind of plot 'curves'", "did you mean curve?"),
    ("plot {results} --x step", "unknown x axis 'step'", "did you mean steps"),
    ("plot {results} -o figure.gif", "unknown suffix '.gif'", ".png"),
    ("plot {results} -o figure", "without a suffix", ".png"),
    # Values
    (RUN + "--set train.lr=fast", "train.lr = 'fast'", "train.lr"),
    (RUN + "--lr -1", "train.lr = -1.0", "train.lr"),
    (RUN + "--batch-size 0", "--batch-size '0' is not a whole number", "--batch-size 8, or 20k"),
    (RUN + "--set train=5", "train is a section", "train."),
    (RUN + "--set train.lr", "'train.lr' is not a setting", "--set section.key=value"),
    (RUN + "--set =1", "'=1' is not a setting", "--set section.key=value"),
    (RUN + "--set evl.points=3", "unknown key 'evl'", "did you mean eval"),
    (RUN + "--set zzz=1", "unknown key 'zzz'", "`ditbench settings` lists"),
    (RUN + "--set train.lr=0 --set bugdet.steps=1", "2 problems: (1) ", "budget.steps"),
    (RUN + "--set preset=../x", "preset = '../x'", "letters"),
    (RUN + "--batch-size 1798", "larger than the data (1797 images)", "--batch-size 1797"),
    (RUN + "--set eval.points=30 --steps 20", "eval.points (30)", "--steps"),
    (RUN + "--model 16x1x2/3", "patch size 3 does not divide 8x8", ""),
    (RUN + "--model 15x1x2/2", "2 heads do not divide hidden size 15", ""),
    (RUN + "--steps 0", "--steps '0'", "--steps 8, or 20k for 20,000"),
    (RUN + "--seeds ", "--seeds ''", "--seeds 0,1,2"),
    (RUN + "--seeds 9223372036854775808", "--seeds '9", "--seeds 0,1,2"),
    # Files
    (RUN + "--config {world}/broken.toml", "not valid TOML", "toml.io"),
    (RUN + "--config {world}/binary.toml", "not valid TOML", "UTF-8"),
    (RUN + "--data {world}/none", "{world}/none", ""),
    (RUN + "--data {world}/empty", "{world}/empty holds no class folders", ""),
    (RUN + "--data {world}/images", "x.png is not an image", "PNG"),
    (RUN + "--data {world}/no.zip", "no.zip is not a readable zip file", "zip"),
    (RUN + "--data {world}/nested.zip", "nested.zip holds no class folders", "passed over: 1 .zip"),
    (RUN + "--data {world}/text.zip", "x.png is not an image", "PNG"),
    (RUN + "--set data.name=folder", "data set 'folder' needs a path", "--data PATH"),
    (RUN + "--set data.name=npz", "data set 'npz' needs a path", "--data PATH"),
    (RUN + "--set data.path=x", "takes no path, got x", "data.name=folder"),
    # Results
    ("compare {world}/none", "{world}/none does not exist", "ditbench run"),
    ("compare {world}/no.zip", "is not a directory", "ditbench run"),
    ("compare {world}/empty", "no complete run in {world}/empty", "ditbench run"),
    ("compare {damaged}", "1 skipped", "ditbench run"),
    ("plot {world}/none", "{world}/none does not exist", "ditbench run"),
    ("plot {damaged}", "1 skipped", "ditbench run"),
    ("compare {stopped}", "no result.json", "with the options of a run resumes it"),
    # Samples
    ("sample {world}/none", "{world}/none does not exist", "ditbench run"),
    ("export {world}/none -o w.pt", "{world}/none does not exist", "ditbench run"),
    ("show {world}/none", "{world}/none does not exist", "ditbench list"),
    ("list {world}/none", "{world}/none does not exist", "ditbench run"),
    ("show {results}", "runs, not one", "name a run directory, such as /"),
    ("report {results} -o page.pdf", "page.pdf would be an HTML page", ".html"),
    (RUN + "--model S", "unknown model 'S'", "S/2, or hidden x depth"),
    ("sample {world}/empty", "is not a run directory", "ditbench run"),
    ("sample {bare}", "has no checkpoint", "ditbench run"),
    ("sample {texted}", "is not a checkpoint", "run"),
    ("sample {run} --classes 10", "no class '10'", "classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ("sample {run} --classes 1,x", "no class 'x'", "the classes are 0, 1, 2"),
    ("sample {run} --classes -1", "no class '-1'", "the classes are 0, 1, 2"),
    ("sample {run} -o grid.jpg", "cannot write a grid as 'grid.jpg'", ".png"),
    ("sample {run} --device tpu", "no device 'tpu'", "--device"),
    # What the parser itself refuses
    ("rum", "no such command 'rum'", "ditbench --help"),
    ("--blok", "no such option: --blok", "ditbench --help"),
    ("tune", "missing option '--block'", "ditbench tune --help"),
    (RUN + "--lr", "option '--lr' requires an argument", "ditbench run --help"),
    (RUN + "more", "more", "ditbench run --help"),
    ("sample", "neither RUN nor --init is given", "name a run directory, or weights"),
    ("sample {run} --per-class 0", "'--per-class'", "ditbench sample --help"),
]

FAILURES = [
    ("run --block adaln {tiny} --out {world}/no.zip", "cannot write {world}/no.zip", "writable"),
    ("run --block adaln {tiny} --out {world}/no.zip/x", "cannot write {world}/no.zip", "writable"),
    ("compare {results} -o {world}/no.zip/t.md", "cannot write {world}/no.zip/t.md", "writable"),
    ("compare {results} -o {world}/folder.md", "cannot write {world}/folder.md", "writable"),
    ("plot {results} -o {world}/folder.png", "cannot write {world}/folder.png", "writable"),
    ("sample {run} --per-class 1 -o {world}/folder.png", "cannot write {world}/folder", "writable"),
]


@pytest.fixture(scope="module")
def world(experiment, tmp_path_factory):
    """Good and bad things by name: files, data, results, run directories."""
    results, world = experiment[1], tmp_path_factory.mktemp("world")
    run = next(results.glob("digits/adaln-zero/seed0-*"))
    (world / "broken.toml").write_text("[train\nlr = 1")
    (world / "binary.toml").write_bytes(b"\xff\xfe\x00lr")
    (world / "no.zip").write_text("no zip")
    with zipfile.ZipFile(world / "text.zip", "w") as archive:
        archive.writestr("cats/x.png", "no image")
    with zipfile.ZipFile(world / "nested.zip", "w") as archive:
        archive.writestr("inner.zip", "no image")
    for name in ("empty", "images/cats", "folder.md", "folder.png"):
        (world / name).mkdir(parents=True)
    (world / "images/cats/x.png").write_text("no image")
    copies = {name: shutil.copytree(run, world / name / run.name)
              for name in ("damaged", "bare", "texted", "stopped")}  # fmt: skip
    (copies["damaged"] / "eval.csv").write_text("step,fid\n1")
    (copies["stopped"] / "result.json").unlink()
    (copies["bare"] / "checkpoints/latest.safetensors").unlink()
    (copies["texted"] / "checkpoints/latest.safetensors").write_text("no checkpoint")
    return {"world": world, "results": results, "run": run, **copies}


def snapshot(world):
    return {path: path.stat().st_mtime_ns for path in world["world"].rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "error", "hint", "code"),
    [(*case, code) for cases, code in ((CASES, USAGE), (FAILURES, FAILED)) for case in cases],
)
def test_a_mistake_is_a_line_and_a_hint(
    mistake, world, tiny, elsewhere, arguments, error, hint, code
):
    before = snapshot(world)
    places = {name: str(path) for name, path in world.items()}
    parts = []
    for part in arguments.split(" "):
        parts += tiny if part == "{tiny}" else [part.format(**places)]
    first, second = mistake(*parts, code=code)
    assert error.format(**places) in first
    assert hint in second
    assert list(elsewhere.iterdir()) == []
    assert snapshot(world) == before


@pytest.fixture
def compared(cli, monkeypatch):
    """`ditbench compare` where the results cannot be read for this reason."""

    def call(reason):
        load = Mock(side_effect=reason)
        monkeypatch.setattr("ditbench.report.reading.results.load_results", load)
        return cli("compare", "anywhere")

    return call


def test_what_the_system_refuses_is_a_line_too(compared):
    result = compared(PermissionError(13, "Permission denied", "secret"))
    assert result.exit_code == FAILED
    assert result.stderr.startswith("error: secret: Permission denied\nhelp: ")


def test_a_traceback_of_the_users_own_code_comes_before_the_two_lines(compared):
    lines = ["Traceback ...", "  my_block.py, line 3", "ValueError: \x1b[2Jno"]
    text = "\n".join([*lines, ""])
    result = compared(BlockError("my_block.py:3: ValueError: no", text, "fix it", 2))
    assert (result.exit_code, result.stdout) == (2, "")
    *before, error, hint = result.stderr.splitlines()
    assert before == [*lines[:2], r"ValueError: \x1b[2Jno"]
    assert (error, hint) == ("error: my_block.py:3: ValueError: no", "help: fix it")


def test_an_interrupt_anywhere_ends_with_its_code(compared):
    result = compared(KeyboardInterrupt)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_defect_of_ours_is_not_dressed_up(compared):
    assert isinstance(compared(ZeroDivisionError).exception, ZeroDivisionError)


def test_a_value_that_is_no_number_is_refused_in_few_words(mistake):
    error, _ = mistake("compare", "--target-fid", "x")
    assert error.strip() == "error: invalid value for '--target-fid': should be a valid number"
