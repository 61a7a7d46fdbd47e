"""`ditbench features train cifar10`, end to end on a few images."""

import io
import re
import zipfile

import numpy as np
from PIL import Image

from ditbench.metrics.cifar10_classifier import Cifar10Classifier


def test_features_train_cifar10_takes_zips_of_images(cli, elsewhere):
    """Images of random pixels: nothing to learn, but all of the way."""
    pixels = np.random.default_rng(0)
    for name, count in (("train.zip", 4), ("test.zip", 2)):
        with zipfile.ZipFile(name, "w") as file:
            for label in "abcdefghij":
                for index in range(count):
                    image = io.BytesIO()
                    Image.fromarray(pixels.integers(0, 256, (32, 32, 3), np.uint8)).save(
                        image, "PNG"
                    )
                    file.writestr(f"{label}/{index}.png", image.getvalue())
    options = ("--data", "train.zip", "--test", "test.zip", "--device", "cpu", "--epochs", "1")
    told = cli("features", "train", "cifar10", *options)
    assert told.exit_code == 0
    assert re.fullmatch(
        r"test accuracy [01]\.\d{4}, weights in cifar10\.safetensors\n", told.stdout
    )
    assert "accuracy on 20 test images" in told.stderr
    assert Cifar10Classifier(elsewhere / "cifar10.safetensors").details["data"].startswith("train")
