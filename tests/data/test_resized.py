import numpy as np
import pytest

from ditbench.data import load_dataset
from ditbench.data.pictures.settings import Settings


def test_images_in_memory_are_resized_and_the_digest_follows(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), np.uint8)
    path = tmp_path / "x.npz"
    np.savez(path, images=images, labels=[0, 1, 0])
    data = load_dataset("npz", path, Settings(image_size=6))
    assert np.array_equal(data.images.numpy(), images[:, :, 1:7].transpose(0, 3, 1, 2))
    assert data.labels.tolist() == [0, 1, 0]
    assert data.digest != load_dataset("npz", path).digest


@pytest.mark.parametrize("size", [4, 8, 16])
def test_grey_images(size):
    data = load_dataset("digits", settings=Settings(image_size=size))
    assert data.images.shape == (1_797, 1, size, size)
    assert (data.digest == load_dataset("digits").digest) == (size == 8)
