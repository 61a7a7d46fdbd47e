"""Images in a file: they are those in memory, and take none."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mapped import in_file

from ditbench.data.dataset import ImageDataset
from ditbench.data.mapped import MappedFile
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.real import compute_statistics, real_statistics


def dataset(count=30, shape=(3, 5, 4)):
    draws = np.random.default_rng(0)
    images = torch.from_numpy(draws.integers(0, 256, (count, *shape), dtype=np.uint8))
    return ImageDataset("test", images, torch.arange(count) % 2, ("a", "b"))


def test_rows_are_those_that_were_saved(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (20, 4, 3, 2), np.uint8)
    np.save(tmp_path / "rows.npy", rows)
    file = MappedFile(tmp_path / "rows.npy")
    assert np.array_equal(file.tensor.numpy(), rows)
    index = torch.tensor([19, 0, 7, 7])
    into = torch.empty(4, *rows.shape[1:], dtype=file.tensor.dtype)
    file.read(index, into)
    assert np.array_equal(into.numpy(), rows[index.numpy()])
    file.forget()
    assert np.array_equal(file.tensor.numpy(), rows)


def test_what_is_not_a_whole_array_is_refused(tmp_path):
    path = tmp_path / "rows.npy"
    with pytest.raises(OSError, match="No such file"):
        MappedFile(path)
    np.save(path, np.zeros((4, 1, 2, 2), np.uint8))
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:50], whole[:-1], whole + b"1"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            MappedFile(path)
    for rows in (np.zeros((4, 4, 4, 4), order="F"), np.zeros(4, complex), np.array([None])):
        np.save(path, rows)
        with pytest.raises(ValueError, match=r"."):
            MappedFile(path)


def test_a_data_set_does_not_depend_on_where_its_images_are(tmp_path, monkeypatch):
    memory = dataset()
    digest = memory.digest
    monkeypatch.setattr("ditbench.data.dataset.HASHED", 7 * 60)  # several parts, the last is short
    file = in_file(memory, tmp_path / "images.npy")
    assert file.digest == digest == dataset().digest
    for each in (memory, file):
        into = torch.empty(2, 3, 5, 4, dtype=torch.uint8)
        each.read(torch.tensor([29, 3]), into)
        assert torch.equal(into, memory.images[[29, 3]])


def test_statistics_of_mapped_images_are_those_of_images_in_memory(tmp_path):
    from ditbench.data.digits import load_digits

    memory = load_digits()
    extractor = create_extractor("digits", memory)
    expected = compute_statistics(memory.images, extractor)
    found = real_statistics(in_file(memory, tmp_path / "images.npy"), extractor)
    assert vars(found).keys() == vars(expected).keys()
    assert all(
        torch.equal(torch.as_tensor(value), torch.as_tensor(vars(expected)[name]))
        for name, value in vars(found).items()
    )


def test_a_file_that_was_removed_or_replaced_is_still_read(tmp_path):
    memory = dataset()
    file = in_file(memory, tmp_path / "images.npy")
    (tmp_path / "other").write_bytes(bytes(5000))
    (tmp_path / "other").replace(tmp_path / "images.npy")
    (tmp_path / "images.npy").unlink()
    into = torch.empty_like(memory.images)
    file.read(torch.arange(30), into)
    assert torch.equal(into, memory.images)


def test_a_file_that_has_become_shorter_is_one_message(tmp_path):
    file = in_file(dataset(), tmp_path / "images.npy")
    os.truncate(tmp_path / "images.npy", 128 + 60 * 10)
    into = torch.empty(1, 3, 5, 4, dtype=torch.uint8)
    file.read(torch.tensor([9]), into)
    with pytest.raises(
        DitbenchError, match=r"images\.npy cannot be read: it has become shorter"
    ) as error:
        file.read(torch.tensor([10]), into)
    assert error.value.exit_code == EXIT_FAILED
    assert error.value.hint


def test_the_file_is_closed_with_the_data_set(tmp_path):
    file = in_file(dataset(), tmp_path / "images.npy").file
    handle = file._file
    del file
    gc.collect()
    assert handle.closed


LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np, torch
from numpy.lib import format as npy
from ditbench.data.dataset import ImageDataset
from ditbench.data.mapped import MappedFile
from ditbench.training import batches

count, path = 2**15, Path(sys.argv[1])
with path.open("wb") as file:  # 512 MiB, without blocks on the disk
    npy.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, 1, 128, 128)}
    )
    file.truncate(file.tell() + 2**29)
status = lambda name: int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])
limit = 1024 * status("VmData") + 2**27
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
file = MappedFile(path)
data = ImageDataset("big", file.tensor, torch.zeros(count, dtype=torch.long), ("a",), file=file)
batches.SHARE = 0.0
before = status("VmRSS")
known = dict(horizontal_flip=True, device=torch.device("cpu"))
given = batches.Batches(data, 64, 0, **known)
for step in range(4):
    given.batch(step)
streamed = status("VmRSS") - before
len(data.digest)
print(streamed, status("VmRSS") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_a_file_larger_than_a_limit_of_memory_is_streamed(tmp_path):
    """A file of 512 MiB where the process may allocate 128 MiB more than it has."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "big.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert not done.returncode, done.stderr
    streamed, hashed = (int(kib) for kib in done.stdout.split())
    assert max(streamed, hashed) < 2**18  # KiB
