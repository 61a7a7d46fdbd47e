from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torchmetrics.image.fid import FrechetInceptionDistance
from toy_extractor import ToyExtractor, random_images

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import score
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.score import Scorer


def scipy_fid(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance of two Gaussians, by the textbook formula in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(cov_x @ cov_y).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """MMD² with k(a, b) = (a·b / F + 1)³, written as the sums of Gretton et al. 2012, eq. 3."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    kernel = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    within = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernel[:2]]
    return float(sum(within) - 2 * kernel[2].mean())


def scorer_of(toy: ToyExtractor, real: torch.Tensor) -> Scorer:
    return Scorer(toy, compute_statistics(real, toy, batch_size=70))


def feed(scorer: Scorer, images: torch.Tensor, labels: torch.Tensor | None = None) -> Scorer:
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    for batch, wanted in zip(images.split(64), labels.split(64), strict=True):
        scorer.update(batch, wanted)
    return scorer


@pytest.mark.parametrize("high", [256, 200])
def test_fid_is_the_frechet_distance(toy: ToyExtractor, high: int):
    real, fake = random_images(300, 1), random_images(200, 2, high)
    fid = feed(scorer_of(toy, real), fake).compute()["fid"]
    x, y = toy(real).features, toy(fake).features
    assert fid == pytest.approx(scipy_fid(x.numpy(), y.numpy()), rel=1e-6)
    peer = fid_statistics_to_metric(
        fid_features_to_statistics(x.double()), fid_features_to_statistics(y.double()), False
    )
    assert fid == pytest.approx(peer[KEY_METRIC_FID], rel=1e-6)


def test_fid_on_digits_against_scipy(digits, classifier):
    real, fake = digits.images[:900], digits.images[900:]
    scorer = Scorer(classifier, compute_statistics(real, classifier))
    fid = feed(scorer, fake, digits.labels[900:]).compute()["fid"]
    x, y = classifier(real).features.numpy(), classifier(fake).features.numpy()
    assert fid == pytest.approx(scipy_fid(x, y), rel=1e-3)


def test_handing_in_the_sums_is_torchmetrics_own_update(toy: ToyExtractor):
    """Guards against torchmetrics renaming or redefining its states."""
    real, fake = random_images(300, 1), random_images(200, 2, 200)
    own = FrechetInceptionDistance(score._PassThrough(12))
    own.update(toy(real).features.double(), real=True)
    own.update(toy(fake).features.double(), real=False)
    fid = feed(scorer_of(toy, real), fake).compute()["fid"]
    assert fid == pytest.approx(float(own.compute()), rel=1e-9)


def test_fid_is_computed_in_float64(toy: ToyExtractor):
    """Features far from 0: float32 sums would lose the covariance altogether."""
    images = random_images(300, 1)
    far = [toy(images).features.double() + 1e5, toy(random_images(200, 2)).features.double() + 1e5]
    scorer = scorer_of(toy, images)
    scorer._fid.real_features_sum = far[0].sum(0)
    scorer._fid.real_features_cov_sum = far[0].T @ far[0]
    scorer._fid.update(far[1], real=False)
    assert float(scorer._fid.compute()) == pytest.approx(
        scipy_fid(far[0].numpy(), far[1].numpy()), rel=1e-3
    )


def test_kid_on_all_rows_is_the_unbiased_mmd(toy: ToyExtractor, monkeypatch: pytest.MonkeyPatch):
    """With subsets of all rows their order is all that chance decides, and it does not matter."""
    monkeypatch.setattr(Scorer, "_kid_subset_size", lambda self: 150)
    real, fake = random_images(150, 1), random_images(150, 2, 200)
    kid = feed(scorer_of(toy, real), fake).compute()["kid"]
    expected = unbiased_mmd(toy(real).features.numpy(), toy(fake).features.numpy())
    assert kid == pytest.approx(expected, rel=1e-7)


def test_kid_is_the_mean_over_seeded_subsets(toy: ToyExtractor):
    real, fake = random_images(300, 1), random_images(200, 2, 200)
    scorer = feed(scorer_of(toy, real), fake)
    assert scorer.settings == {"kid_subsets": 20, "kid_subset_size": 100, "kid_seed": 0}
    x, y = scorer.real.rows.numpy(), toy(fake).features.numpy()
    generator = torch.Generator().manual_seed(0)
    expected = []
    for _ in range(20):
        of_x = torch.randperm(300, generator=generator)[:100]
        of_y = torch.randperm(200, generator=generator)[:100]
        expected.append(unbiased_mmd(x[of_x], y[of_y]))
    assert scorer.compute()["kid"] == pytest.approx(np.mean(expected), rel=1e-7)


def test_kid_does_not_depend_on_the_global_stream_nor_move_it(toy: ToyExtractor):
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    first = scorer.compute()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        scorer._kid._computed = None  # torchmetrics remembers its last result
        assert scorer.compute() == first
        moved = torch.rand(3)
        torch.manual_seed(1234)
        assert torch.equal(moved, torch.rand(3))


def test_subset_size_is_capped(toy: ToyExtractor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(score, "KID_MAX_SUBSET_SIZE", 30)
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    assert scorer.settings["kid_subset_size"] == 30


def test_the_extractor_runs_once_a_batch(toy: ToyExtractor):
    scorer = scorer_of(toy, random_images(300, 1))
    toy.calls = 0
    feed(scorer, random_images(200, 2)).compute()
    assert toy.calls == 4  # batches of 64


def test_batches_do_not_matter(toy: ToyExtractor):
    scorer = scorer_of(toy, random_images(300, 1))
    images, labels = random_images(200, 2), torch.arange(200) % 4
    in_parts = feed(scorer, images, labels).compute()
    scorer.reset()
    scorer.update(images, labels)
    assert scorer.compute() == pytest.approx(in_parts, rel=1e-6)


def test_reset_forgets_the_samples_and_keeps_the_real_statistics(toy: ToyExtractor):
    scorer = scorer_of(toy, random_images(300, 1))
    first = feed(scorer, random_images(200, 2)).compute()
    scorer.reset()
    other = feed(scorer, random_images(200, 3, 100)).compute()
    assert other["fid"] > 2 * first["fid"]
    scorer.reset()
    assert feed(scorer, random_images(200, 2)).compute() == first


def test_label_accuracy_of_real_digits_is_the_classifiers(digits, classifier):
    scorer = Scorer(classifier, compute_statistics(digits.images, classifier))
    found = feed(scorer, digits.images, digits.labels).compute()
    right = (classifier(digits.images).logits.argmax(1) == digits.labels).float().mean().item()
    assert found["label_accuracy"] == pytest.approx(right)
    assert right > 0.99
    assert found["fid"] == pytest.approx(0, abs=1e-3)


def test_label_accuracy_of_shuffled_labels_is_chance(digits, classifier):
    shuffled = digits.labels[torch.randperm(1797, generator=torch.Generator().manual_seed(0))]
    scorer = Scorer(classifier, compute_statistics(digits.images, classifier))
    assert feed(scorer, digits.images, shuffled).compute()["label_accuracy"] == pytest.approx(
        0.1, abs=0.03
    )


def test_scores_tell_real_digits_from_worse_ones(digits, classifier):
    """A ladder: the other half, a little noise, the mean of each class, nothing but noise."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1))
    real, labels = digits.images[order[:898]], digits.labels[order[898:]]
    half = digits.images[order[898:]]
    scorer = Scorer(classifier, compute_statistics(real, classifier))
    generator = torch.Generator().manual_seed(2)
    grain = 32 * torch.randn(half.shape, generator=generator)
    means = torch.stack([half[labels == k].float().mean(0) for k in range(10)])[labels]
    ladder = [
        half,
        (half + grain).clamp(0, 255).byte(),
        means.byte(),
        torch.randint(0, 256, half.shape, generator=generator, dtype=torch.uint8),
    ]
    scores = []
    for images in ladder:
        scorer.reset()
        scores.append(feed(scorer, images, labels).compute())
    fids, kids = [s["fid"] for s in scores], [s["kid"] for s in scores]
    assert fids == sorted(fids)
    assert kids == sorted(kids)
    assert fids[0] < 5
    assert fids[-1] > 200
    assert abs(kids[0]) < 0.02 * kids[-1]


def test_no_classifier_no_label_accuracy(toy: ToyExtractor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ToyExtractor, "num_classes", None)
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    assert set(scorer.compute()) == {"fid", "kid"}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples(toy: ToyExtractor, count: int):
    scorer = scorer_of(toy, random_images(300, 1))
    if count:
        feed(scorer, random_images(count, 2))
    with pytest.raises(DitbenchError, match=f"cannot score {count} samples against 300"):
        scorer.compute()


def test_few_samples_give_finite_scores(toy: ToyExtractor):
    """Fewer samples than features: the covariance is singular, the distance is not."""
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(2, 2))
    assert all(np.isfinite(value) for value in scorer.compute().values())


def test_a_score_that_is_not_finite_is_an_error(toy: ToyExtractor):
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    scorer._kid.fake_features[0][0, 0] = torch.inf
    with pytest.raises(DitbenchError, match="kid is") as caught:
        scorer.compute()
    assert caught.value.exit_code == EXIT_FAILED


def test_labels_and_images_have_to_pair(toy: ToyExtractor):
    with pytest.raises(ValueError, match="3 images"):
        scorer_of(toy, random_images(300, 1)).update(random_images(3, 2), torch.zeros(1))
