import pytest
import torch
from autoencoder import loaded, saved, tiny

from ditbench.data.latents.vae import Vae
from ditbench.errors import DitbenchError


def images(count=3, side=16, channels=3):
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=draws)


def test_encode_is_that_of_diffusers():
    pixels = images()
    with torch.no_grad():
        posterior = tiny().encode(pixels.float() / 127.5 - 1).latent_dist
    expected = torch.cat([posterior.mean, posterior.std], 1)
    found = loaded().encode(pixels)
    assert found.shape == (3, 8, 4, 4)
    torch.testing.assert_close(found, expected)


def test_decode_is_that_of_diffusers():
    net, vae = (
        tiny(scaling_factor=0.5, shift_factor=0.25),
        loaded(scaling_factor=0.5, shift_factor=0.25),
    )
    x = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net.decode(x / 0.5 + 0.25).sample.clamp(-1, 1)
    torch.testing.assert_close(vae.decode(x), expected)


def test_parts_give_what_the_whole_gives(monkeypatch):
    vae, pixels = loaded(), images(5)
    whole = vae.encode(pixels)
    monkeypatch.setattr("ditbench.data.latents.vae.PIXELS_AT_ONCE", 2 * 16 * 16)
    torch.testing.assert_close(vae.encode(pixels), whole)
    torch.testing.assert_close(
        vae.decode(whole[:, :4]), torch.cat([vae.decode(each[None, :4]) for each in whole])
    )


def test_grey_images_are_encoded_as_rgb():
    grey = images(channels=1)
    assert torch.equal(loaded().encode(grey), loaded().encode(grey.expand(-1, 3, -1, -1)))


def test_space_has_the_factors_of_the_config():
    vae = loaded(scaling_factor=0.3, latents_mean=[1, 2, 3, 4], latents_std=[1, 1, 2, 2])
    space = vae.space(64, "moments")
    assert (space.scaling_factor, space.shift_factor, space.downsampling) == (0.3, 0, 4)
    assert (space.mean, space.std) == ((1, 2, 3, 4), (1, 1, 2, 2))
    assert (space.vae, space.vae_digest, space.image_size) == ("tiny", vae.digest, 64)


def test_digest_covers_weights_and_factors():
    same, other = loaded(), loaded(seed=1)
    assert loaded().digest == same.digest != other.digest
    assert loaded(scaling_factor=0.5).digest != same.digest


def test_load_from_a_folder_or_a_pipeline(tmp_path):
    saved(tmp_path / "pipe" / "vae")
    direct, pipeline = Vae.load(tmp_path / "pipe" / "vae"), Vae.load(str(tmp_path / "pipe"))
    assert direct.digest == pipeline.digest == loaded().digest


def test_size_that_is_no_multiple():
    with pytest.raises(DitbenchError, match="images of 30 pixels cannot be encoded") as caught:
        loaded().space(30)
    assert "a multiple of 4" in caught.value.hint


@pytest.mark.parametrize("damage", ["empty", "cut", "other class"])
def test_damaged_folder_is_one_line(tmp_path, damage):
    folder = saved(tmp_path / "vae")
    weights = folder / "diffusion_pytorch_model.safetensors"
    if damage == "empty":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (folder / "config.json").write_text("[]")
    with pytest.raises(DitbenchError, match="cannot load the autoencoder") as caught:
        Vae.load(folder)
    assert caught.value.exit_code == 1
    assert "\n" not in caught.value.message


def test_a_folder_that_is_not_there():
    with pytest.raises(DitbenchError, match="no such folder: vaes/of/mine"):
        Vae.load("vaes/of/mine")


def test_loading_prints_nothing(tmp_path, capfd, recwarn):
    folder = saved(tmp_path / "vae")
    Vae.load(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DitbenchError):
        Vae.load(folder)
    assert capfd.readouterr() == ("", "")
    assert not recwarn


def test_missing_diffusers(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DitbenchError, match="needs diffusers") as caught:
        Vae.load("x")
    assert "ditbench[latents]" in caught.value.hint
