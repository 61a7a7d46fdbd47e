from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from toy_extractor import ToyExtractor, random_images

from ditbench.data.io.tensors import read_tensors
from ditbench.files import cache_directory
from ditbench.metrics import real as module
from ditbench.metrics.metric import RealStatistics
from ditbench.metrics.real import compute_statistics, real_statistics

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.data.dataset import ImageDataset


def assert_same(a: RealStatistics, b: RealStatistics) -> None:
    for field in dataclasses.fields(RealStatistics):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert torch.equal(torch.as_tensor(x), torch.as_tensor(y)), field.name


def test_sums_and_rows(toy: ToyExtractor, toy_data: ImageDataset):
    found = compute_statistics(toy_data.images, toy, batch_size=77)
    features = toy(toy_data.images).features
    assert found.count == 300
    assert torch.allclose(found.features_sum, features.double().sum(0))
    assert torch.allclose(found.outer_sum, features.double().T @ features.double())
    assert found.outer_sum.dtype == torch.float64
    assert torch.equal(found.rows, features)


def test_at_most_so_many_rows_are_kept(toy, toy_data, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    first = compute_statistics(toy_data.images, toy, batch_size=77)
    assert first.rows.shape == (50, 12)
    assert first.count == 300
    assert_same(compute_statistics(toy_data.images, toy, batch_size=77), first)
    # Drawn from all classes, not the first ones of a sorted data set.
    all_rows = toy(toy_data.images).features
    kept = (all_rows[:, None] == first.rows).all(-1).any(1).nonzero().flatten()
    assert len(kept) == 50
    assert kept[-1] > 250


def test_second_time_comes_from_the_cache(toy, toy_data, own_cache: Path):
    first = real_statistics(toy_data, toy)
    (file,) = own_cache.iterdir()
    assert file.suffix == ".safetensors"
    calls = toy.calls
    assert_same(real_statistics(toy_data, toy), first)
    assert toy.calls == calls


def test_other_extractor_other_data_other_revision_are_computed(
    toy, toy_data, own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    first = real_statistics(toy_data, toy)
    other = ToyExtractor(seed=1)
    assert not torch.equal(real_statistics(toy_data, other).features_sum, first.features_sum)
    data = dataclasses.replace(toy_data, images=random_images(300, 9))
    assert not torch.equal(real_statistics(data, toy).features_sum, first.features_sum)
    calls = toy.calls
    monkeypatch.setattr(module, "REVISION", 99)
    real_statistics(toy_data, toy)
    assert toy.calls > calls
    assert len(list(own_cache.iterdir())) == 4


def test_a_cache_file_under_anothers_name_is_not_trusted(toy, toy_data, own_cache: Path):
    first = real_statistics(toy_data, toy)
    (file,) = own_cache.iterdir()
    real_statistics(toy_data, ToyExtractor(seed=1))
    (foreign,) = set(own_cache.iterdir()) - {file}
    file.write_bytes(foreign.read_bytes())
    assert_same(real_statistics(toy_data, toy), first)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "flipped bit", "folder"])
def test_a_damaged_cache_file_is_computed_again(toy, toy_data, own_cache: Path, damage: str):
    first = real_statistics(toy_data, toy)
    (file,) = own_cache.iterdir()
    data = file.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    contents = {"empty": b"", "cut": data[:-9], "garbage": b"x" * 99, "flipped bit": flipped}
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(contents[damage])
    calls = toy.calls
    assert_same(real_statistics(toy_data, toy), first)
    assert toy.calls > calls
    if damage != "folder":
        assert file.read_bytes() == data or read_tensors(file, _key(toy, toy_data))


def _key(toy: ToyExtractor, data: ImageDataset) -> dict[str, str]:
    return {"dataset": data.digest, "extractor": toy.digest, "revision": str(module.REVISION)}


def test_an_unwritable_cache_only_means_no_caching(
    toy, toy_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert real_statistics(toy_data, toy).count == 300


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("DITBENCH_CACHE")
    assert cache_directory() == tmp_path / "xdg" / "ditbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == tmp_path / ".cache" / "ditbench"
