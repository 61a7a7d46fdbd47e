"""Data sets whose images are in a file."""

from dataclasses import replace

import numpy as np

from ditbench.data.mapped import MappedFile


def in_file(dataset, path):
    """The same data set with its images in an .npy file at `path`."""
    np.save(path, dataset.images.numpy())
    file = MappedFile(path)
    return replace(dataset, images=file.tensor, file=file)
