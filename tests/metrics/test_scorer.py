import json
import math
from dataclasses import replace

import pytest
import torch
from scoring import feed, scorer_of
from toy_extractor import ToyExtractor, random_images

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scorer import Scorer, Space

DEFAULT = ("fid", "kid", "label_accuracy", "precision", "recall", "density", "coverage")


def test_the_extractor_runs_once_a_batch(toy):
    scorer = scorer_of(toy, random_images(300, 1))
    toy.calls = 0
    feed(scorer, random_images(200, 2)).compute()
    assert toy.calls == 4  # batches of 64


def test_batches_do_not_matter(toy):
    scorer = scorer_of(toy, random_images(300, 1))
    images, labels = random_images(200, 2), torch.arange(200) % 4
    in_parts = feed(scorer, images, labels).compute()
    scorer.reset()
    scorer.update(images, labels)
    assert scorer.compute() == pytest.approx(in_parts, rel=1e-6)


def test_reset_forgets_the_samples_and_keeps_the_real_statistics(toy):
    scorer = scorer_of(toy, random_images(300, 1))
    first = feed(scorer, random_images(200, 2)).compute()
    scorer.reset()
    other = feed(scorer, random_images(200, 3, 100)).compute()
    assert other["fid"] > 2 * first["fid"]
    scorer.reset()
    assert feed(scorer, random_images(200, 2)).compute() == first


def test_scores_tell_real_digits_from_worse_ones(digits, classifier):
    """A ladder: the other half, a little noise, the mean of each class, nothing but noise."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1))
    real, labels = digits.images[order[:898]], digits.labels[order[898:]]
    half = digits.images[order[898:]]
    scorer = Scorer([Space(classifier, compute_statistics(real, classifier))])
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
    for name in ("precision", "recall", "density", "coverage"):
        values = [s[name] for s in scores]
        assert values[0] > 0.8, name
        assert values[-1] == 0, name
    assert fids == sorted(fids)
    assert kids == sorted(kids)
    assert fids[0] < 5
    assert fids[-1] > 200
    assert abs(kids[0]) < 0.02 * kids[-1]


def test_scores_are_those_of_earlier_versions(digits, classifier):
    """A change here makes new runs incomparable with all earlier ones.

    FID and label accuracy were recorded at 5e29aeb; KID is the float64 formula, of its version 2.
    """
    generator = torch.Generator().manual_seed(11)
    images = torch.randint(0, 256, (1000, 1, 8, 8), generator=generator, dtype=torch.uint8)
    scorer = scorer_of(classifier, digits.images)
    found = feed(scorer, images, torch.arange(1000) % 10).compute()
    recorded = {"fid": 357.1499713134042, "kid": 339.5301321277999, "label_accuracy": 0.079}
    assert {name: found[name] for name in recorded} == pytest.approx(recorded, rel=1e-6)
    neighbours = {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    assert {name: found[name] for name in neighbours} == neighbours


def test_describe_says_what_the_scores_depend_on(digits, classifier):
    scorer = scorer_of(classifier, digits.images)
    described = scorer.describe(samples=500)
    assert described.pop("kid") == {"real_images": 1797}
    for name in ("precision", "recall", "density", "coverage"):
        assert described.pop(name) == {"real_images": 1797, "neighbours": 5}
    assert described == {
        "features": "digits",
        "features_digest": classifier.digest,
        "features_details": classifier.details,
        "samples": 500,
        "real_images": 1797,
    }
    assert json.loads(json.dumps(described)) == described


def test_every_metric_states_its_facts(toy):
    scorer = scorer_of(toy, random_images(300, 1))
    facts = [metric.describe() for metric in scorer.metrics]
    assert [each["name"] for each in facts] == list(DEFAULT)
    assert [each["direction"] for each in facts] == ["lower"] * 2 + ["higher"] * 5
    by_number = [each["name"] for each in facts if each["depends_on_samples"]]
    assert by_number == ["fid", "kid", "recall", "coverage"]
    formatted = ["12.35", "12.3", *["12.346"] * 5]
    assert [format(12.3456, each["format"]) for each in facts] == formatted
    assert [each["version"] for each in facts] == [1, 2, 1, 1, 1, 1, 1]
    assert all(each["title"] and each["unit"] == "" for each in facts)


def test_no_classifier_no_label_accuracy(toy, monkeypatch):
    monkeypatch.setattr(ToyExtractor, "num_classes", None)
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    assert set(scorer.compute()) == set(DEFAULT) - {"label_accuracy"}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples(toy, count):
    scorer = scorer_of(toy, random_images(300, 1))
    if count:
        feed(scorer, random_images(count, 2))
    with pytest.raises(DitbenchError, match=f"cannot score {count} samples against 300"):
        scorer.compute()


def test_few_samples_give_finite_scores(toy):
    """Fewer samples than features: the covariance is singular, the distance is not."""
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(2, 2))
    assert all(math.isfinite(value) for value in scorer.compute().values())


def test_a_score_that_is_not_finite_is_an_error(toy):
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    scorer._groups[0].metrics[1] = replace(scorer.metrics[1], compute=lambda _: math.inf)
    with pytest.raises(DitbenchError, match="kid is") as caught:
        scorer.compute()
    assert caught.value.exit_code == EXIT_FAILED


def test_labels_and_images_have_to_pair(toy):
    with pytest.raises(ValueError, match="3 images"):
        scorer_of(toy, random_images(300, 1)).update(random_images(3, 2), torch.zeros(1))


def test_further_features_are_scored_from_one_pass_each(toy):
    """The same scores as those of a scorer of their own, under other names."""
    real, fake = random_images(300, 1), random_images(200, 2)
    other = type("Other", (ToyExtractor,), {"name": "digits"})(seed=1)
    statistics = compute_statistics(real, other)
    scorer = Scorer([Space(toy, compute_statistics(real, toy)), Space(other, statistics)])
    toy.calls = other.calls = 0
    found = feed(scorer, fake).compute()
    assert (toy.calls, other.calls) == (4, 4)
    own = feed(scorer_of(toy, real), fake).compute()
    assert {name: found[name] for name in own} == pytest.approx(own)
    alone = feed(Scorer([Space(other, statistics)]), fake).compute()
    assert {name: found[f"{name}_digits"] for name in alone} == pytest.approx(alone)
    assert len(found) == len(own) + len(alone)
    assert scorer.versions == {metric.name: metric.version for metric in scorer.metrics}
    (described,) = scorer.describe(200)["also"]
    assert described["features"] == "digits"
    assert described["features_digest"] == other.digest
    assert "kid_digits" in described


def test_held_out_images_are_a_second_reference(toy):
    real, held_out, fake = (random_images(count, count) for count in (300, 150, 200))
    second = compute_statistics(held_out, toy)
    scorer = Scorer([Space(toy, compute_statistics(real, toy), second)])
    toy.calls = 0
    found = feed(scorer, fake).compute()
    assert toy.calls == 4
    own = feed(scorer_of(toy, real), fake).compute()
    assert {name: found[name] for name in own} == pytest.approx(own)
    against_second = feed(Scorer([Space(toy, second)]), fake).compute()
    for name in ("fid", "kid"):
        assert found[f"{name}_held_out"] == pytest.approx(against_second[name])
        assert found[f"{name}_held_out"] != pytest.approx(found[name])
    assert set(found) - set(against_second) == {"fid_held_out", "kid_held_out"}
    described = scorer.describe(200)
    assert (described["real_images"], described["held_out_images"]) == (300, 150)
