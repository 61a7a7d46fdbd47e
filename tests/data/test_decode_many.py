from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ditbench.data import decode_many as module
from ditbench.data import workers
from ditbench.data.archive import open_files
from ditbench.data.decode_many import Tree, decode_many
from ditbench.errors import DitbenchError

COUNT = 50
NAMES = [f"x/{number:03}.png" for number in range(COUNT)]
# Together more than a pipe holds: a process cannot have written all when it is to be ended.
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 40, 48, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


GOOD = dict(zip(NAMES, map(png, PIXELS), strict=True))


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def decoded(path: Path, processes: int) -> np.ndarray:
    with open_files(path) as files:
        return decode_many(Tree(path, files, NAMES), processes)


def refused(path: Path, processes: int) -> tuple[str, str | None, int]:
    with pytest.raises(DitbenchError) as caught:
        decoded(path, processes)
    return caught.value.message, caught.value.hint, caught.value.exit_code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """The processes that were started; blocks are small, so that each gets several of them."""
    processes: list[subprocess.Popen[bytes]] = []
    start = workers._start

    def remember() -> subprocess.Popen[bytes]:
        processes.append(start())
        return processes[-1]

    monkeypatch.setattr(workers, "_start", remember)
    monkeypatch.setattr(module, "BLOCK_FILES", 7)
    yield processes
    assert all(process.returncode is not None for process in processes)  # ended and waited for


@pytest.mark.parametrize("place", ["data", "data.zip"])
def test_several_processes_give_the_pixels_that_were_written(tmp_path: Path, place: str, started):
    path = write(tmp_path / place, GOOD)
    assert np.array_equal(decoded(path, 3), PIXELS)
    assert len(started) == 3


def test_it_is_the_processes_that_decode(tmp_path: Path, started, monkeypatch):
    monkeypatch.setattr(module, "_decode_block", None)
    assert np.array_equal(decoded(write(tmp_path / "data.zip", GOOD), 2), PIXELS)


def test_one_process_is_this_one(tmp_path: Path, started):
    assert np.array_equal(decoded(write(tmp_path / "data", GOOD), 1), PIXELS)
    assert started == []


def test_a_relative_path(tmp_path: Path, started, monkeypatch):
    write(tmp_path / "data.zip", GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_decode_block", None)
    assert np.array_equal(decoded(Path("data.zip"), 2), PIXELS)


BAD = {
    "text": b"hello",
    "cut short": GOOD[NAMES[0]][:-200],
    "of other size": png(PIXELS[0, :30]),
    "grey": png(PIXELS[0, ..., 0]),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("first", [0, 1, 6, 7, 20, COUNT - 1])
def test_the_first_bad_file_is_told_as_one_process_tells_it(tmp_path: Path, started, kind, first):
    files = GOOD | {NAMES[first]: BAD[kind]}
    if first < COUNT - 2:  # a later one, of the next process, which may come to it sooner
        files[NAMES[min(first + 7, COUNT - 1)]] = b"another"
    path = write(tmp_path / "data.zip", files)
    told = refused(path, 2)
    assert told == refused(path, 1)
    if first or kind == "text":  # another first image makes the second one the odd one
        assert NAMES[first] in told[0]


@pytest.mark.parametrize("calls", [1, 2, 4], ids=["at once", "later", "later still"])
def test_what_a_process_does_not_give_is_decoded_here(tmp_path: Path, started, monkeypatch, calls):
    tell = workers._Worker._tell
    told = []

    def tell_or_die(self, line):
        if self.process is started[-1]:
            told.append(line)
            if len(told) == calls:
                self.process.kill()
        tell(self, line)

    monkeypatch.setattr(workers._Worker, "_tell", tell_or_die)
    assert np.array_equal(decoded(write(tmp_path / "data", GOOD), 2), PIXELS)


def test_where_there_is_room_for_one_process_only_it_decodes(tmp_path: Path, started, monkeypatch):
    start = workers._start

    def start_one():
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start()

    monkeypatch.setattr(workers, "_start", start_one)
    monkeypatch.setattr(module, "_decode_block", None)
    assert np.array_equal(decoded(write(tmp_path / "data", GOOD), 3), PIXELS)
    assert len(started) == 1


def test_where_no_process_can_be_started_there_is_one(tmp_path: Path, monkeypatch):
    def full():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(workers, "_start", full)
    assert np.array_equal(decoded(write(tmp_path / "data", GOOD), 3), PIXELS)


def test_an_interpreter_that_cannot_work_is_no_harm(tmp_path: Path, started, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert np.array_equal(decoded(write(tmp_path / "data", GOOD), 2), PIXELS)


def test_few_files_start_no_process(tmp_path: Path, started):
    path = write(tmp_path / "data", GOOD)
    with open_files(path) as files:
        decode_many(Tree(path, files, NAMES))
    assert started == []


@given(st.integers(1, 10**6), st.integers(1, 3 * 4096**2))
def test_what_is_decoded_at_once_is_bounded(count: int, size: int):
    length = max(1, min(module.BLOCK_FILES, module.BLOCK_BYTES // size))
    assert length * size <= max(size, module.BLOCK_BYTES)
    assert length <= module.BLOCK_FILES


def test_the_process_that_decodes_imports_neither_torch_nor_numpy():
    code = (
        "import sys, ditbench.data.decode_worker; "
        "sys.exit(bool({'torch', 'numpy', 'typer'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# No `if __name__ == "__main__"`: what is started must not run it again.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from ditbench.data import decode_many, workers
from ditbench.data.archive import open_files

path, names = Path(sys.argv[1]), sys.argv[2].split()
decode_many.BLOCK_FILES = 7
start, receive = workers._start, workers._Worker._receive

def start_and_tell():
    process = start()
    print(process.pid, flush=True)
    return process

def receive_and_signal(self, target):
    receive(self, target)
    {signal}

workers._start, workers._Worker._receive = start_and_tell, receive_and_signal
with open_files(path) as files:
    try:
        decode_many.decode_many(decode_many.Tree(path, files, names), 2)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def run_script(path: Path, signal_code: str) -> subprocess.CompletedProcess[str]:
    """A script in a session of its own, as a terminal starts it: a signal may go to its group."""
    code = SCRIPT.replace("{signal}", signal_code)
    return subprocess.run(
        [sys.executable, "-c", code, str(path), " ".join(NAMES)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def is_gone(pid: str, seconds: float = 0) -> bool:
    """Whether a process has ended; whoever has to wait for it may not have done so yet."""
    ends = time.monotonic() + seconds
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" or time.monotonic() > ends:
            return state == "Z"
        time.sleep(0.02)


def test_a_script_is_not_run_again(tmp_path: Path):
    told = run_script(write(tmp_path / "data.zip", GOOD), "pass")
    assert (told.returncode, told.stderr) == (0, "")
    assert len(told.stdout.split()) == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_leaves_no_process_and_no_traceback(tmp_path: Path):
    path = write(tmp_path / "data.zip", GOOD)
    told = run_script(path, "os.killpg(0, signal.SIGINT)")
    assert (told.returncode, told.stderr) == (0, "")
    *pids, last = told.stdout.split()
    assert last == "interrupted"
    assert len(pids) == 2
    assert all(is_gone(pid, seconds=20) for pid in pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_is_killed_leaves_none_behind(tmp_path: Path):
    path = write(tmp_path / "data.zip", GOOD)
    told = run_script(path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (told.returncode, told.stderr) == (-signal.SIGKILL, "")
    assert len(told.stdout.split()) == 2
    assert all(is_gone(pid, seconds=20) for pid in told.stdout.split())
