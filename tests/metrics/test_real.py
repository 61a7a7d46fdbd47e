import dataclasses

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from toy_extractor import ToyExtractor, random_images

from ditbench.metrics import metric as metric_module
from ditbench.metrics import real as module
from ditbench.metrics.metric import RealStatistics
from ditbench.metrics.real import compute_statistics, real_statistics


def assert_same(a, b):
    for field in dataclasses.fields(RealStatistics):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert torch.equal(torch.as_tensor(x), torch.as_tensor(y)), field.name


def test_sums_and_rows(toy, toy_data):
    found = compute_statistics(toy_data.images, toy, batch_size=77)
    features = toy(toy_data.images).features
    assert found.count == 300
    assert torch.allclose(found.features_sum, features.double().sum(0))
    assert torch.allclose(found.outer_sum, features.double().T @ features.double())
    assert found.outer_sum.dtype == torch.float64
    assert torch.equal(found.rows, features)
    assert torch.equal(found.subset, features)


def test_distances_between_real_images(toy, toy_data):
    found = compute_statistics(toy_data.images, toy)
    features = toy(toy_data.images).features.double().numpy()
    distances, _ = NearestNeighbors(n_neighbors=6).fit(features).kneighbors()
    assert found.nearest.numpy() == pytest.approx(distances[:, 0])
    assert found.radii.numpy() == pytest.approx(distances[:, 4])


def test_at_most_so_many_rows_are_kept(toy, toy_data, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    first = compute_statistics(toy_data.images, toy, batch_size=77)
    assert first.rows.shape == (50, 12)
    assert first.count == 300
    assert_same(compute_statistics(toy_data.images, toy, batch_size=77), first)
    assert first.nearest.shape == (50,)
    # Drawn from all classes, not the first ones of a sorted data set.
    all_rows = toy(toy_data.images).features
    kept = (all_rows[:, None] == first.rows).all(-1).any(1).nonzero().flatten()
    assert len(kept) == 50
    assert kept[-1] > 250


def test_the_subset_is_what_fewer_rows_would_be(toy, toy_data, monkeypatch):
    """So KID's first version keeps its values, though more rows are kept today."""
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    few = compute_statistics(toy_data.images, toy)
    monkeypatch.setattr(module, "MAX_ROWS", 120)
    monkeypatch.setattr(module, "MAX_SUBSET", 50)
    monkeypatch.setattr(metric_module, "MAX_SUBSET", 50)
    many = compute_statistics(toy_data.images, toy)
    assert many.rows.shape == (120, 12)
    assert torch.equal(many.subset, few.rows)
    assert len(torch.unique(many.rows, dim=0)) == 120
    assert many.radii.shape == (50,)
    assert torch.equal(many.radii, few.radii)


def test_second_time_comes_from_the_cache(toy, toy_data, own_cache):
    first = real_statistics(toy_data, toy)
    (file,) = own_cache.glob("*.safetensors")
    assert file.suffix == ".safetensors"
    calls = toy.calls
    assert_same(real_statistics(toy_data, toy), first)
    assert toy.calls == calls


def test_other_extractor_other_data_other_revision_are_computed(
    toy, toy_data, own_cache, monkeypatch
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
    assert len(list(own_cache.glob("*.safetensors"))) == 4


def test_a_cache_file_under_anothers_name_is_not_trusted(toy, toy_data, own_cache):
    first = real_statistics(toy_data, toy)
    (file,) = own_cache.glob("*.safetensors")
    real_statistics(toy_data, ToyExtractor(seed=1))
    (foreign,) = set(own_cache.glob("*.safetensors")) - {file}
    file.write_bytes(foreign.read_bytes())
    assert_same(real_statistics(toy_data, toy), first)
