import json

import pytest
import torch

from ditbench.data.dataset import ImageDataset
from ditbench.data.recorded import facts_of, stand_in
from ditbench.errors import DitbenchError


def test_a_stand_in_has_the_shape_and_the_classes():
    images = torch.full((5, 3, 4, 6), 7, dtype=torch.uint8)
    data = ImageDataset("x", images, torch.tensor([0, 1, 1, 0, 1]), ("cat", "n\udcff"))
    read = stand_in("y", json.loads(json.dumps(facts_of(data))))
    assert (read.name, read.class_names) == ("y", data.class_names)
    assert (read.channels, read.height, read.width) == (3, 4, 6)
    assert facts_of(data)["images"] == 5


def test_a_stand_in_for_large_images_takes_no_memory():
    data = stand_in("x", {"shape": [3, 4096, 4096], "classes": list(map(str, range(10_000)))})
    assert data.images.untyped_storage().nbytes() == 3 * 4096 * 4096


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {},
        {"shape": [1, 8, 8]},
        {"classes": ["a"]},
        {"shape": [8, 8], "classes": ["a"]},
        {"shape": [1, 8, 0], "classes": ["a"]},
        {"shape": [1, 8, -8], "classes": ["a"]},
        {"shape": [1, 8, 10**9], "classes": ["a"]},
        {"shape": [True, 8, 8], "classes": ["a"]},
        {"shape": [1, 8, "8"], "classes": ["a"]},
        {"shape": "188", "classes": ["a"]},
        {"shape": [1, 8, 8], "classes": []},
        {"shape": [1, 8, 8], "classes": "ab"},
        {"shape": [1, 8, 8], "classes": [1]},
    ],
)
def test_damaged_facts_are_refused(facts):
    with pytest.raises(DitbenchError, match=r"env.json does not record"):
        stand_in("x", facts)
