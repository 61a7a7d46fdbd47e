"""Samples of latents are scored as the images that an autoencoder makes of them."""

import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from autoencoder import saved
from PIL import Image
from worlds import in_world

from ditbench.config import load
from ditbench.data import load_dataset
from ditbench.data.latents.vae import Vae
from ditbench.data.pictures import streamed
from ditbench.data.pictures.settings import Settings
from ditbench.data.pictures.streamed import StreamedPictures
from ditbench.errors import DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scorer import Scorer, Space
from ditbench.report.reading.results import load_results
from ditbench.rundir import RunDirectory
from ditbench.runs.planning.rescoring import plan_rescoring
from ditbench.runs.run import execute
from ditbench.runs.scoring.export import export_samples
from ditbench.runs.scoring.rescore import rescore
from ditbench.runs.scoring.sampling import Noise, sample_batches
from ditbench.runs.scoring.scored import decode_samples, remark
from ditbench.runs.scoring.trained import averaged_model, open_run
from ditbench.training.stop import StopRequest
from ditbench.world import World

CPU = torch.device("cpu")
SIZE, CLASSES, EACH = 32, 10, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures in ten classes, an autoencoder, and the latents that it makes of the pictures."""
    folder = tmp_path_factory.mktemp("latents")
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"images/{label}").mkdir(parents=True)
        for number in range(EACH):
            pixels = draws.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"images/{label}/{number}.png")
    images = load_dataset("folder", folder / "images")
    vae = Vae.load(saved(folder / "vae"))
    means = vae.encode(images.images)[:, : vae.channels]
    np.savez(
        folder / "latents.npz", latents=means.numpy(), labels=images.labels.numpy(),
        image_size=SIZE, scaling_factor=vae.space(SIZE).scaling_factor,
    )  # fmt: skip
    return folder


@pytest.fixture
def make(place, make_plan):
    """A planned run on these latents."""

    def plan(**values):
        given = {"data__name": "npz", "data__path": str(place / "latents.npz")}
        return make_plan(**given | {"objective__name": "ddpm", "eval__points": 1} | values)

    return plan


@pytest.fixture
def decoded(place):
    """The keys of a run whose samples are decoded."""
    return {"data__vae": str(place / "vae"), "metrics__features": "cifar10"}


def by_hand(plan, vae):
    """The samples of a run's final score, decoded by diffusers alone: uint8 (N, 3, H, W)."""
    model, _ = averaged_model(plan, plan.directory)
    labels = torch.arange(40) % CLASSES
    x = torch.cat([*sample_batches(model, plan, labels, Noise.of(plan.config.seed, CPU))])
    with torch.no_grad():
        images = vae.net.decode(x / vae.net.config.scaling_factor).sample
    return ((images.clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8), labels


def score(samples, labels, real, names):
    extractor = create_extractor("cifar10", names)
    scorer = Scorer([Space(extractor, compute_statistics(real, extractor))])
    scorer.update(samples, labels)
    return scorer.compute()


def test_decoded_samples_are_compared_with_the_pictures(make, decoded, place, tmp_path):
    """Against pictures read by another way, and samples decoded by diffusers without ditbench."""
    plan = make(metrics__real=str(place / "images"), **decoded)
    final = execute(plan)["final"]
    samples, labels = by_hand(plan, Vae.load(place / "vae"))
    pictures = load_dataset("folder", place / "images")
    expected = score(samples, labels, pictures.images, pictures)
    for name in ("fid", "kid", "recall", "coverage"):
        assert final[f"{name}_40"] == pytest.approx(expected[name], rel=1e-6), name

    path = tmp_path / "samples.npz"
    opened = open_run(plan.directory.path, {}, "cpu", trust=False)
    exported = export_samples(opened, path, count=None, classes=None, stop=StopRequest())
    with np.load(path) as arrays:
        assert exported == (40, False)
        assert (arrays["arr_0"] == samples.permute(0, 2, 3, 1).numpy()).all()
    grid = next(plan.directory.path.glob("samples/*6.png"))
    with Image.open(grid) as picture:
        assert picture.size == ((2 * SIZE + 2) * CLASSES, (2 * SIZE + 2) * 4)
        first = np.asarray(picture)[: 2 * SIZE : 2, : 2 * SIZE : 2]
    assert (first == samples[0].permute(1, 2, 0).numpy()).all()


def test_without_other_real_images_they_are_the_decoded_latents(make, decoded, place):
    plan = make(**decoded)
    assert "does not see what the autoencoder loses" in remark(plan)
    final = execute(plan)["final"]
    vae = Vae.load(place / "vae")
    samples, labels = by_hand(plan, vae)
    with np.load(place / "latents.npz") as arrays, torch.no_grad():
        images = vae.net.decode(torch.from_numpy(arrays["latents"])).sample
    real = ((images.clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
    pictures = load_dataset("folder", place / "images")
    expected = score(samples, labels, real, pictures)
    # The model's range is another: a pixel in a thousand is rounded to its neighbour.
    assert final["fid_40"] == pytest.approx(expected["fid"], rel=1e-3)


def test_without_an_autoencoder_latents_are_compared_and_no_fid_is_named(make, place, tmp_path):
    plan = make(metrics__features="latents")
    assert "not FIDs" in remark(plan)
    final = execute(plan)["final"]
    columns = (plan.directory.path / "eval.csv").read_text().splitlines()[0].split(",")
    assert not [name for name in columns if "fid" in name or "kid" in name]
    model, _ = averaged_model(plan, plan.directory)
    noise = Noise.of(plan.config.seed, CPU)
    x = torch.cat([*sample_batches(model, plan, torch.arange(40) % CLASSES, noise)]).flatten(1)
    with np.load(place / "latents.npz") as arrays:
        real = torch.from_numpy(arrays["latents"] * arrays["scaling_factor"]).flatten(1).double()
    assert final["latent_fd_40"] == pytest.approx(frechet(x.double(), real), rel=1e-6)
    # Tables find the distance where FID is, under its own title.
    rows = load_results(tmp_path / "results")
    assert rows[rows["final"]]["fid"].tolist() == [final["latent_fd_40"]]
    titles = {each["name"]: each["title"] for each in json.loads(rows["metrics"].iloc[0])}
    assert (titles["fid"], titles["kid"]) == ("Latent FD", "Latent KD")
    with pytest.raises(DitbenchError, match="makes latents, not images"):
        open_run(plan.directory.path, {}, "cpu", trust=False)


def frechet(x, y):
    """Heusel et al. 2017, with the trace of a square root of a product of covariances."""
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = torch.linalg.eigvals(a @ b).real.clamp_min(0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root)


def test_a_run_is_scored_again_with_an_autoencoder(make, decoded, place):
    settings = decoded | {"metrics__real": str(place / "images")}
    with_vae, without = make(**settings), make(metrics__features="latents")
    assert with_vae.config.fingerprint != without.config.fingerprint
    expected = execute(with_vae)["final"]
    execute(without)
    jobs, skipped = plan_rescoring([RunDirectory(without.directory.path)], [settings], 1, CPU)
    assert not skipped
    ((job, content),) = rescore(jobs, Mock(), StopRequest())
    (row,) = content["draws"]
    assert row["fid_40"] == pytest.approx(expected["fid_40"], rel=1e-9)
    digests = (with_vae.config.data.vae_digest, with_vae.config.metrics.real_digest)
    assert job.name == "-".join(["cfg1-ddpm2-40-cifar10", *(each[:8] for each in digests)])


@pytest.mark.gpu
def test_a_gpu_decodes_to_about_the_same_images(make, decoded):
    """In bf16: most pixels are equal or next to each other."""
    plan = make(**decoded)
    samples = torch.randn(20, *plan.dataset.shape, generator=torch.Generator().manual_seed(0))
    on_gpu = decode_samples(replace(plan, device=torch.device("cuda")), samples)
    assert on_gpu.device.type == "cuda"
    apart = (on_gpu.cpu().int() - decode_samples(plan, samples).int()).abs()
    assert apart.float().mean() < 1
    execute(replace(plan, device=torch.device("cuda")))


def by_processes(world, overrides, out):
    """The final score of a run; each process decodes a part of every batch."""
    from ditbench.runs.planning.plan import plan_all

    (plan,) = plan_all([load("digits", overrides=overrides)], out, CPU)
    return execute(replace(plan, world=world))["final"]


@pytest.mark.slow
def test_processes_that_decode_together_give_the_same_scores(make, decoded, tmp_path):
    plan = make(eval__samples=33, **decoded)  # the last batch has one sample
    expected = execute(plan)["final"]
    config = plan.config.model_dump(mode="json", exclude_none=True)
    overrides = {
        f"{section}.{key}": value
        for section in ("data", "model", "objective", "budget", "train", "eval", "metrics")
        for key, value in config[section].items()
    }
    found = in_world(2, by_processes, overrides, tmp_path / "two")
    for name in ("fid_33", "kid_33", "recall_33"):
        assert [each[name] for each in found] == [pytest.approx(expected[name], rel=1e-3)] * 2


def test_what_does_not_fit_is_refused(make, decoded, place, tmp_path):
    with pytest.raises(DitbenchError, match="cifar10 features need images"):
        make(metrics__features="cifar10")
    with pytest.raises(DitbenchError, match="latents features compare latents"):
        make(data__name="folder", data__path=str(place / "images"), metrics__features="latents")
    with pytest.raises(DitbenchError, match="which no autoencoder decodes"):
        make(data__name="folder", data__path=str(place / "images"), **decoded)
    with pytest.raises(DitbenchError, match="latents cannot be compared with the real images"):
        make(metrics__features="latents", metrics__real=str(place / "images"))
    with pytest.raises(DitbenchError, match="not what it was made for"):
        make(**decoded, data__vae_digest="0" * 64)
    with pytest.raises(DitbenchError, match="not what it was made for"):
        make(**decoded, metrics__real=str(place / "images"), metrics__real_digest="0" * 64)
    np.savez(tmp_path / "published.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with pytest.raises(DitbenchError, match="statistics of Inception features, not of cifar10"):
        make(**decoded, metrics__real=str(tmp_path / "published.npz"))
    wider = saved(tmp_path / "wide", latent_channels=8)
    with pytest.raises(DitbenchError, match="decodes 8 channels, each side times 4"):
        make(**decoded | {"data__vae": str(wider)})


def test_the_place_of_autoencoder_and_pictures_is_not_part_of_what_identifies_a_run(
    make, decoded, place, tmp_path
):
    plan = make(metrics__real=str(place / "images"), **decoded)
    (tmp_path / "moved").symlink_to(place, target_is_directory=True)
    moved = tmp_path / "moved"
    again = make(metrics__real=str(moved / "images"), **decoded | {"data__vae": str(moved / "vae")})
    assert again.config.fingerprint == plan.config.fingerprint


def test_streamed_pictures_are_those_of_the_data_set(place):
    settings = Settings(image_size=16)
    pictures = StreamedPictures(place / "images", settings)
    batches = [*pictures.split(7)]
    assert [len(batch) for batch in batches] == [7] * 5 + [5]
    expected = load_dataset("folder", place / "images", settings).images
    assert torch.equal(torch.cat(batches), expected)
    assert pictures.digest != StreamedPictures(place / "images", Settings(image_size=8)).digest


class Part(World):
    """One of several processes, which receives nothing from the others."""

    def gather(self, part, count):
        whole = part.new_zeros(count, *part.shape[1:])
        whole[self.part(count)] = part
        return whole


def test_each_process_reads_its_part_of_the_real_pictures(place, monkeypatch):
    pictures = StreamedPictures(place / "images", Settings(image_size=SIZE))
    extractor = create_extractor("cifar10", load_dataset("folder", place / "images"))
    expected = compute_statistics(pictures, extractor, batch_size=7).features_sum
    read = Mock(wraps=streamed.read_picture)
    monkeypatch.setattr(streamed, "read_picture", read)
    parts = []
    for rank in range(3):
        extractor.world = Part(rank, 3)
        parts.append(compute_statistics(pictures, extractor, batch_size=7).features_sum)
    assert torch.allclose(sum(parts), expected)
    assert sorted(call.args[-1] for call in read.mock_calls) == sorted(pictures.names)


def test_fewer_pictures_than_processes_are_read_by_each(place):
    pictures = StreamedPictures(place / "images", Settings(image_size=SIZE))
    assert all(map(torch.equal, pictures.split(2), pictures.split(2, World(1, 3))))


def test_a_damaged_real_picture_is_an_error(place, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.new("L", (16, 16)).save(tmp_path / label / "grey.png")
    (tmp_path / "a" / "readme.txt").write_text("no picture")
    (whole,) = StreamedPictures(tmp_path, Settings(image_size=8)).split(9)
    assert whole.shape == (2, 3, 8, 8)
    (tmp_path / "b" / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DitbenchError, match=r"broken\.png"):
        list(StreamedPictures(tmp_path, Settings(image_size=8)).split(2))
