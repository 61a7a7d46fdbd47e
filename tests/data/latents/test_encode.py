"""Encoding: the latents are those of the autoencoder, however the work is divided."""

import json
from pathlib import Path

import latents as made
import numpy as np
import pytest
import torch
from autoencoder import loaded
from PIL import Image
from safetensors.torch import load_file

from ditbench.data.latents.encode import Encoding, Settings
from ditbench.data.latents.load import load_latents
from ditbench.data.latents.pictures import find_images
from ditbench.data.pictures import settings as pictures
from ditbench.errors import DitbenchError
from ditbench.seeds import generator

SMALL = Settings(image_size=16, shard_size=4)
COUNT = 11


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures, some grey and one larger."""
    draws = np.random.default_rng(0)
    for number in range(COUNT):
        place = tmp_path / "pics" / ("cat" if number < 5 else "dog") / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        side = 20 if number == 3 else 16
        pixels = draws.integers(0, 256, (side, side) if number == 4 else (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    return tmp_path / "pics"


def encoding(folder, out, settings=SMALL, vaes=None, **more):
    images = find_images(folder, pictures.Settings(settings.image_size, **more))
    return Encoding(images, out, vaes or [loaded()], settings)


def encode(*arguments, **more):
    work = encoding(*arguments, **more)
    work.run(lambda number: None)
    return load_latents(arguments[1])


def pixels(folder):
    found = find_images(folder, pictures.Settings(16)).read(range(COUNT))
    return torch.from_numpy(np.stack([np.broadcast_to(each, (3, 16, 16)) for each in found]))


def test_moments_and_mirrored_copies_are_those_of_the_autoencoder(folder, tmp_path):
    found = encode(folder, tmp_path / "out")
    images, vae = pixels(folder), loaded()
    expected = torch.cat([vae.encode(images), vae.encode(images.flip(-1))])
    stored = made.everything(found)
    assert stored.dtype == torch.float16
    torch.testing.assert_close(stored.float(), expected, atol=1e-3, rtol=1e-3)
    assert found.labels.tolist() == [0] * 5 + [1] * 6
    assert (found.class_names, found.shape, found.flipped) == (("cat", "dog"), (4, 4, 4), True)
    assert found.latents == vae.space(16, "moments")


def test_mean_is_half_of_the_moments(folder, tmp_path):
    moments = made.everything(encode(folder, tmp_path / "moments"))
    mean = made.everything(encode(folder, tmp_path / "mean", Settings(16, "mean", shard_size=4)))
    assert torch.equal(mean, moments[:, :4])


def test_samples_are_drawn_by_a_generator_for_each_shard(folder, tmp_path):
    settings = Settings(16, "sample", flip=False, dtype="float32", shard_size=4)
    found = made.everything(encode(folder, tmp_path / "out", settings))
    moments = loaded().encode(pixels(folder)[4:8])
    noise = torch.randn(4, 4, 4, 4, generator=generator(0, "encode", 1))
    torch.testing.assert_close(found[4:8], moments[:, :4] + moments[:, 4:] * noise)


@pytest.mark.parametrize("kind", ["moments", "sample"])
def test_two_devices_write_the_same_files(folder, tmp_path, kind):
    settings = Settings(16, kind, shard_size=2)
    one = encode(folder, tmp_path / "one", settings)
    two = encode(folder, tmp_path / "two", settings, vaes=[loaded(), loaded()])
    assert one.digest == two.digest
    for path in (tmp_path / "one").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_resumes_after_a_stop(folder, tmp_path):
    whole = encode(folder, tmp_path / "whole")
    out = tmp_path / "out"

    def stop_at(number):
        seen.append(number)
        if sum(seen) >= 8:  # within the second of three shards
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        encoding(folder, out).run(stop_at)
    with pytest.raises(DitbenchError, match="are not complete") as caught:
        load_latents(out)
    assert "ditbench encode" in caught.value.hint
    first = out / "shard-00000-of-00003.safetensors"
    time = first.stat().st_mtime_ns
    again = encoding(folder, out)
    assert again.remaining == [1, 2]
    again.run(lambda number: None)
    assert load_latents(out).digest == whole.digest
    assert first.stat().st_mtime_ns == time


def test_a_damaged_shard_is_found_and_encoded_again(folder, tmp_path):
    out = tmp_path / "out"
    digest = encode(folder, out).digest
    shard = out / "shard-00001-of-00003.safetensors"
    content = bytearray(shard.read_bytes())
    content[-40] ^= 1  # a bit of a number
    shard.write_bytes(content)
    with pytest.raises(DitbenchError, match="are not those that were encoded"):
        load_latents(out)
    shard.unlink()
    assert encode(folder, out).digest == digest


def test_other_settings_do_not_mix(folder, tmp_path):
    encode(folder, tmp_path / "out")
    with pytest.raises(DitbenchError, match="holds other latents"):
        encoding(folder, tmp_path / "out", Settings(16, "mean", shard_size=4))
    with pytest.raises(DitbenchError, match="holds other latents"):
        encoding(folder, tmp_path / "out", vaes=[loaded(seed=1)])
    Image.new("RGB", (16, 16)).save(folder / "dog" / "10.png")  # another picture of this name
    with pytest.raises(DitbenchError, match="holds other latents"):
        encoding(folder, tmp_path / "out")


def test_unreadable_pictures_are_skipped_up_to_a_share(folder, tmp_path):
    (folder / "cat" / "02.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (folder / "cat" / "README.md").write_text("about cats")
    with pytest.raises(DitbenchError, match="1 or more of 12 pictures") as caught:
        encode(folder, tmp_path / "out")
    assert "--max-unreadable" in caught.value.hint
    found = encode(folder, tmp_path / "out", max_unreadable=0.1)
    assert found.labels.tolist() == [0] * 4 + [1] * 6
    index = json.loads((tmp_path / "out" / "latents.json").read_text())
    assert index["images"] == COUNT - 1
    assert index["notes"] == ["1 unreadable skipped", "files of other formats passed over: 1"]
    assert index["problems"][0].startswith("cat/02.png")


def test_a_data_set_in_memory(tmp_path):
    settings = Settings(8, "mean", flip=False, shard_size=1_000)
    vae = loaded()
    images = find_images(Path("digits"), pictures.Settings(8))
    Encoding(images, tmp_path / "out", [vae], settings).run(lambda number: None)
    found = load_latents(tmp_path / "out")
    assert (len(found), found.num_classes, found.shape) == (1797, 10, (4, 2, 2))


def test_latents_are_not_encoded_again(folder, tmp_path):
    encode(folder, tmp_path / "out")
    with pytest.raises(DitbenchError, match="holds latents, not images"):
        find_images(tmp_path / "out", pictures.Settings(16))


def test_numbers_beyond_float16(folder, tmp_path):
    vae = loaded()
    with torch.no_grad():
        vae.net.quant_conv.bias[0] = 1e6
    with pytest.raises(DitbenchError, match="beyond the range of float16") as caught:
        encode(folder, tmp_path / "out", vaes=[vae])
    assert "--dtype float32" in caught.value.hint


def test_a_disk_that_is_too_small(folder, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(DitbenchError, match=r"the latents need .* kB, .* has 100 B"):
        encoding(folder, tmp_path / "deep" / "out")


def test_what_is_documented_of_a_shard(folder, tmp_path):
    encode(folder, tmp_path / "out")
    shard = load_file(tmp_path / "out" / "shard-00002-of-00003.safetensors")
    assert {key: (tuple(each.shape), each.dtype) for key, each in shard.items()} == {
        "latents": ((3, 8, 4, 4), torch.float16),
        "latents_flip": ((3, 8, 4, 4), torch.float16),
        "labels": ((3,), torch.int64),
    }
    index = json.loads((tmp_path / "out" / "latents.json").read_text())
    assert len(index["channel_means"]) == len(index["channel_stds"]) == 8
