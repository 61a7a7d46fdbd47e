"""Published statistics in the place of real images: the same FID, and nothing that needs more."""

import numpy as np
import pytest
import torch
from toy_extractor import ToyExtractor, random_images

from ditbench.data.latents.space import LatentSpace
from ditbench.errors import DitbenchError
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.reference import Published, is_published, load_reference
from ditbench.metrics.scorer import Scorer, Space


class Inception(ToyExtractor):
    """The features of a published file are Inception's."""

    name = "inception"


@pytest.fixture
def published(tmp_path):
    """An .npz as ADM publishes it: mean and covariance of the real images, and a few of them."""
    images = random_images(60, 0)
    features = Inception()(images).features.double().numpy()
    path = tmp_path / "reference.npz"
    np.savez(
        path, mu=features.mean(0), sigma=np.cov(features.T),
        arr_0=images[:5].permute(0, 2, 3, 1).numpy(),
    )  # fmt: skip
    return path, images


def test_fid_is_that_of_the_images_and_what_needs_images_is_left_out(published):
    path, images = published
    extractor, samples = Inception(), random_images(40, 1, high=200)
    labels = torch.arange(40) % 4
    real = load_reference(path, 4, 3)
    assert isinstance(real, Published)
    scores = []
    for statistics in (compute_statistics(images, extractor), real.statistics(extractor)):
        scorer = Scorer([Space(extractor, statistics)], extra=("inception_score", "memorization"))
        scorer.update(samples, labels)
        scores.append((scorer.compute(), scorer.describe(40)))
    (whole, described), (few, few_described) = scores
    assert set(few) == {"fid", "label_accuracy", "inception_score"} < set(whole)
    assert few["fid"] == pytest.approx(whole["fid"], rel=1e-9)
    assert few["inception_score"] == whole["inception_score"]
    assert described["real_images"] == 60
    assert "real_images" not in few_described


def test_statistics_of_other_features_are_refused(published, tmp_path):
    path, _ = published
    with pytest.raises(DitbenchError, match="statistics of Inception features, not of toy"):
        load_reference(path, 4, 3).statistics(ToyExtractor())
    np.savez(tmp_path / "other.npz", mu=np.zeros(5), sigma=np.eye(5))
    with pytest.raises(DitbenchError, match="statistics of 5 features, expected 12"):
        load_reference(tmp_path / "other.npz", 4, 3).statistics(Inception())


@pytest.mark.parametrize(
    ("mean", "covariance", "what"),
    [
        (np.zeros((2, 2)), np.eye(2), "mu has shape"),
        (np.zeros(2), np.eye(3), "sigma"),
        (np.full(2, np.nan), np.eye(2), "not finite"),
        (np.array([object()] * 2), np.eye(2), "cannot be read"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, mean, covariance, what):
    path = tmp_path / "damaged.npz"
    np.savez(path, mu=mean, sigma=covariance)
    with pytest.raises(DitbenchError, match=what):
        load_reference(path, 4, 3)


def test_a_cut_off_file_is_an_error(published):
    path, _ = published
    path.write_bytes(path.read_bytes()[:-200])
    assert not is_published(path)
    with pytest.raises(DitbenchError):
        load_reference(path, 4, 3)


def test_an_npz_of_images_has_images_and_one_of_latents_is_refused(tmp_path):
    images = random_images(6, 0)
    path = tmp_path / "images.npz"
    np.savez(path, images=images.permute(0, 2, 3, 1).numpy(), labels=np.arange(6) % 2)
    assert torch.equal(load_reference(path, 4, 3).images, images)
    grey = tmp_path / "grey.npz"
    np.savez(grey, images=images[:, 0].numpy(), labels=np.arange(6) % 2)
    assert load_reference(grey, 4, 3).images.shape == (6, 3, 4, 4)
    latents = tmp_path / "latents.npz"
    np.savez(
        latents, latents=np.zeros((2, 4, 1, 1), np.float32), labels=np.arange(2),
        image_size=8, scaling_factor=LatentSpace("", "", 8, 1.0).scaling_factor,
    )  # fmt: skip
    with pytest.raises(DitbenchError, match="latents, not real images"):
        load_reference(latents, 8, 3)
