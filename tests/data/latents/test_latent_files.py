"""Readers of latents: what is written is read, and what is damaged is one line."""

import json

import latents as made
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ditbench.data import find_source, load_dataset
from ditbench.data.latents.space import LatentSpace
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError

SIZE = Settings(image_size=32)


def load(path, settings=SIZE):
    name, place = find_source(path)
    return load_dataset(name, place, settings)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lightning_dit(tmp_path, dtype):
    plain, mirrored, labels = made.lightning_dit(tmp_path / "va", dtype=dtype)
    found = load(tmp_path / "va")
    assert torch.equal(made.everything(found), torch.cat([plain, mirrored]))
    assert torch.equal(found.labels, labels)
    assert (len(found), found.shape, found.flipped) == (9, made.SHAPE, True)
    assert found.class_names == ("0", "1", "2")
    assert found.latents == LatentSpace(
        "", "", 32, 1.0, downsampling=8, kind="sample", mean=(0.5,) * 4, std=(2.0,) * 4
    )
    torch.testing.assert_close(found.to_model(plain), (plain.float() - 0.5) / 2)


def test_lightning_dit_without_statistics_or_copies(tmp_path):
    made.lightning_dit(tmp_path / "sd", flip=False, statistics=False)
    with pytest.raises(DitbenchError, match=r"do not say the size of .* and their scaling") as e:
        load(tmp_path / "sd", Settings())
    assert "--image-size" in e.value.hint
    assert "data.scaling_factor" in e.value.hint
    found = load(tmp_path / "sd", Settings(image_size=32, scaling_factor=0.25))
    assert (found.latents.scaling_factor, found.flipped) == (0.25, False)


def test_fast_dit(tmp_path):
    plain = made.fast_dit(tmp_path / "features", count=12)
    found = load(tmp_path / "features", Settings())
    assert torch.equal(made.everything(found), plain)
    assert found.labels.tolist() == [number % 3 for number in range(12)]  # 10 after 9, not after 1
    assert torch.equal(found.to_model(plain), plain)  # they are scaled already
    assert (found.latents.scaling_factor, found.latents.image_size) == (0.18215, 32)


def test_npz(tmp_path):
    plain = made.npz(tmp_path / "some.npz", latents_flip=made.numbers(9, 1).numpy())
    found = load(tmp_path / "some.npz", Settings())
    assert torch.equal(made.everything(found), torch.cat([plain, made.numbers(9, 1)]))
    assert (found.latents.scaling_factor, found.latents.image_size) == (0.5, 32)
    assert (found.name, found.flipped) == ("some", True)


def test_npz_with_class_names_and_the_rest_from_settings(tmp_path):
    lacking = {"image_size": None, "scaling_factor": None}
    made.npz(tmp_path / "a.npz", class_names=np.array(["x", "y", "z"]), **lacking)
    found = load(tmp_path / "a.npz", Settings(image_size=16, scaling_factor=2.0))
    assert (found.class_names, found.latents.downsampling) == (("x", "y", "z"), 4)


def test_the_digest_is_that_of_the_latents_and_their_meaning(tmp_path):
    made.lightning_dit(tmp_path / "one")
    made.lightning_dit(tmp_path / "two")
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.digest == two.digest
    assert load(tmp_path / "one", Settings(32, scaling_factor=3.0)).digest != one.digest
    shard = tmp_path / "two" / "latents_rank00_shard001.safetensors"
    tensors = load_file(shard)
    tensors["latents_flip"][-1, -1, -1, -1] += 1
    save_file(tensors, shard)
    assert load(tmp_path / "two").digest != one.digest


def test_latents_are_read_once(tmp_path, monkeypatch):
    made.lightning_dit(tmp_path / "one")
    digest = load(tmp_path / "one").digest
    monkeypatch.setattr("ditbench.data.latents.found.scanned", None)
    assert load(tmp_path / "one").digest == digest


def test_numbers_of_latents_are_not_mistaken_for_pixels(tmp_path):
    made.lightning_dit(tmp_path / "one")
    with pytest.raises((NotImplementedError, TypeError)):
        load(tmp_path / "one").images.numpy()


def test_statistics_in_the_range_of_the_model(tmp_path):
    plain = made.npz(tmp_path / "a.npz", count=500)
    x = plain * 0.5
    (note,) = load(tmp_path / "a.npz", Settings()).notes
    assert note == f"in the range of the model: mean {x.mean():.3g}, std {x.std():.3g}"


# --- damage

SHARD = "latents_rank00_shard001.safetensors"


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def change(path, **tensors):
    found = load_file(path) | tensors
    save_file({key: each for key, each in found.items() if each is not None}, path)


def scrambled(path):
    path.write_bytes(b"\xff" * 100)


SHARD_DAMAGE = {
    "cut": (cut, "is not a complete safetensors file"),
    "scrambled": (scrambled, "is not a complete safetensors file"),
    "no labels": (lambda path: change(path, labels=None), "holds latents, latents_flip"),
    "another shape": (
        lambda path: change(
            path, latents=torch.zeros(4, 4, 2, 2), latents_flip=torch.zeros(4, 4, 2, 2)
        ),
        "holds 4x2x2 float32 latents with mirrored copies, but",
    ),
    "no copies": (lambda path: change(path, latents_flip=None), "holds 4x4x4 float32 latents, but"),
    "another type": (
        lambda path: change(path, latents=torch.zeros(4, *made.SHAPE, dtype=torch.float64)),
        "holds .*F64",
    ),
    "flat": (lambda path: change(path, latents=torch.zeros(4, 64)), "have shape"),
    "too few labels": (lambda path: change(path, labels=torch.zeros(3).long()), "labels are"),
    "float labels": (lambda path: change(path, labels=torch.zeros(4)), "labels are F32"),
    "a gap": (lambda path: change(path, labels=torch.full((4,), 99)), "labels go up to 99"),
    "negative": (lambda path: change(path, labels=torch.full((4,), -1)), "labels are -1"),
    "NaN": (
        lambda path: change(path, latents=torch.full((4, *made.SHAPE), torch.nan)),
        "latents of image 5 are NaN",
    ),
}


@pytest.mark.parametrize("damage", SHARD_DAMAGE)
def test_damaged_shard(tmp_path, damage):
    made.lightning_dit(tmp_path / "va")
    do, message = SHARD_DAMAGE[damage]
    do(tmp_path / "va" / SHARD)
    check_refused(tmp_path / "va", message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "is not a file of mean and std"),
        ({"mean": torch.zeros(3), "std": torch.ones(3)}, "is of 3 channels"),
        ({"mean": torch.zeros(4)}, "is not a file of mean and std"),
    ],
)
def test_damaged_statistics(tmp_path, content, message):
    made.lightning_dit(tmp_path / "va")
    path = tmp_path / "va" / "latents_stats.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    check_refused(tmp_path / "va", message)


FAST_DAMAGE = {
    "cut": (lambda f: cut(f / "imagenet32_features/3.npy"), "has 374 bytes, 0.npy has 384"),
    "another header": (
        lambda f: np.save(f / "imagenet32_features/3.npy", np.zeros((1, 4, 2, 8), np.float32)),
        "3.npy cannot be read: it has another header",
    ),
    "no label": (lambda f: (f / "imagenet32_labels/3.npy").unlink(), "3.npy is not both in"),
    "a label of text": (lambda f: np.save(f / "imagenet32_labels/3.npy", np.array(["a"])), "<U1"),
    "scrambled label": (lambda f: scrambled(f / "imagenet32_labels/3.npy"), "cannot be read"),
    "scrambled first": (lambda f: scrambled(f / "imagenet32_features/0.npy"), "cannot be read"),
    "a batch": (
        lambda f: np.save(f / "imagenet32_features/0.npy", np.zeros((2, 4, 4, 4), np.float32)),
        "have shape",
    ),
    "integers": (
        lambda f: np.save(f / "imagenet32_features/0.npy", np.zeros((1, 4, 4, 4), np.int64)),
        "int64 latents",
    ),
}


@pytest.mark.parametrize("damage", FAST_DAMAGE)
def test_damaged_folder(tmp_path, damage):
    made.fast_dit(tmp_path / "fast")
    do, message = FAST_DAMAGE[damage]
    do(tmp_path / "fast")
    check_refused(tmp_path / "fast", message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"latents": np.zeros((9, 4, 4, 4), np.int64)}, "latents are int64"),
        ({"latents": np.zeros((9, 64), np.float32)}, "have shape"),
        ({"latents": np.full((9, 4, 4, 4), np.inf, np.float32)}, "NaN or infinite"),
        ({"latents_flip": np.zeros((8, 4, 4, 4), np.float32)}, "latents_flip have shape"),
        ({"labels": np.zeros(8, np.int64)}, "expected .9,."),
        ({"labels": np.zeros(9)}, "labels are float64"),
        ({"scaling_factor": "big"}, "scaling_factor is <U3"),
        ({"scaling_factor": np.nan}, "scaling_factor is nan"),
        ({"image_size": 64}, "of 64 pixels, not of 32"),
    ],
)
def test_wrong_npz(tmp_path, more, message):
    made.npz(tmp_path / "a.npz", **more)
    check_refused(tmp_path / "a.npz", message)


def test_a_size_that_cannot_be(tmp_path):
    made.npz(tmp_path / "a.npz", image_size=31)
    with pytest.raises(DitbenchError, match="cannot be those of images of 31 pixels"):
        load(tmp_path / "a.npz", Settings())


def test_cut_npz(tmp_path):
    made.npz(tmp_path / "a.npz")
    cut(tmp_path / "a.npz")
    check_refused(tmp_path / "a.npz", "not a readable .npz")


def test_a_file_that_shrinks_later(tmp_path):
    made.lightning_dit(tmp_path / "va")
    found = load(tmp_path / "va")
    cut(tmp_path / "va" / SHARD)
    with pytest.raises(DitbenchError, match="cannot be read: it has become shorter") as caught:
        made.everything(found)
    assert caught.value.exit_code == 1


def check_refused(path, message):
    with pytest.raises(DitbenchError, match=message) as caught:
        load(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_recorded_index_is_json(tmp_path):
    """A damaged index is one line, too; whole ones are tested with `ditbench encode`."""
    made.lightning_dit(tmp_path / "va")
    index = tmp_path / "va" / "latents.json"
    for text in ("[", "[]", "{}", json.dumps({"format": "ditbench latents", "version": 1})):
        index.write_text(text)
        check_refused(tmp_path / "va", "latents.json")
    facts = {"format": "ditbench latents", "version": 1, "shards": ["../x.safetensors"],
             "class_names": ["a"], "notes": [], "content": ""}  # fmt: skip
    index.write_text(json.dumps(facts))
    check_refused(tmp_path / "va", "is damaged")
