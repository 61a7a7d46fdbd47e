import numpy as np
import torch
from sklearn.datasets import load_digits as sklearn_digits

from ditbench.data.digits import load_digits


def test_digits_are_scikit_learns():
    data, source = load_digits(), sklearn_digits()
    assert data.images.shape == (1797, 1, 8, 8)
    assert data.images.dtype == torch.uint8
    assert data.class_names == tuple("0123456789")
    assert np.array_equal(data.labels.numpy(), source.target)
    # The 17 levels are spread over 0..255 and can be recovered.
    levels = np.rint(data.images[:, 0].numpy() / 255 * 16)
    assert np.array_equal(levels, source.images)
    assert (data.images.min(), data.images.max()) == (0, 255)


def test_the_digest_of_digits_never_changes():
    """Fingerprints of existing runs depend on it."""
    digest = "126fbed1fcaf5d21efc3ce3ce3da6aa41c9780cb11918b8181293c61ec6b2986"
    assert load_digits().digest == digest
