"""Settings from pictures: the rules of docs/your-images.md, whatever the pictures are."""

import math
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ditbench.config import validate
from ditbench.config.derive import are_symbols, choose, derive, image_size, patch_size, safe_name
from ditbench.config.load import presets
from ditbench.config.project import nested
from ditbench.data.pictures.survey import Survey
from ditbench.models.sizes import check_size

# The first text that is drawn takes a second.
slowly = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def pictures(images=100, sizes=None, classes=None, channels=3, name="animals"):
    return Survey(
        name, "folder", "animals", images, classes or {"cat": 1, "dog": 1}, channels,
        sizes or {(64, 64): images},
    )  # fmt: skip


def values(*arguments, **given):
    return {key: value for key, value, _ in derive(*arguments, **given)}


SIDES = st.integers(1, 2000)
SIZES = st.dictionaries(st.tuples(SIDES, SIDES), st.integers(1, 1000), min_size=1, max_size=6)
SURVEYS = st.builds(
    pictures,
    images=st.integers(2, 3_000_000),
    sizes=SIZES,
    classes=st.dictionaries(st.text(min_size=1), st.integers(1, 9), min_size=1, max_size=9),
    channels=st.sampled_from([1, 3]),
    name=st.text(),
)


@slowly
@given(SURVEYS)
def test_every_set_of_pictures_has_a_valid_configuration_within_the_bounds(survey):
    config = validate(nested(derive(survey)))
    side = config.data.image_size
    width, height = (side, side) if side else survey.common_size
    size = config.model.size
    check_size(size, height, width)
    assert width // size.patch_size * (height // size.patch_size) <= 256
    batch, steps = config.train.batch_size, config.budget.steps
    assert batch <= survey.images
    assert 10 * survey.images <= steps * batch
    assert steps * batch <= 400 * survey.images
    assert config.eval.samples >= len(survey.classes)
    assert config.eval.points <= steps


@slowly
@given(SURVEYS, st.integers(1, 4096))
def test_a_batch_size_that_is_given_keeps_the_epochs(survey, batch):
    assume(batch <= survey.images)
    found = values(survey, given={"train.batch_size": batch})
    assert found["train.batch_size"] == batch
    assert 10 <= found["budget.steps"] * batch / survey.images <= 400


@slowly
@given(SIZES)
def test_the_side_is_the_largest_not_above_the_median_of_the_shorter_sides(sizes):
    survey = pictures(sum(sizes.values()), sizes)
    side = image_size(survey)
    if side is None:
        ((width, height),) = sizes
        assert max(width, height) <= 32
        return
    shorter = sorted(min(size) for size, count in sizes.items() for _ in range(count))
    median = shorter[(len(shorter) - 1) // 2]
    assert side in (8, 16, 32, 64, 128, 256)
    assert side <= max(8, median)
    assert side == 256 or 2 * side > median


@pytest.mark.parametrize(
    ("size", "side", "patch"),
    [((8, 8), None, 2), ((28, 28), None, 2), ((32, 32), None, 2), ((32, 20), None, 2),
     ((7, 5), None, 1), ((17, 17), 16, 2), ((31, 29), 16, 2), ((1, 1), None, 1),
     ((40, 40), 32, 2), ((96, 128), 64, 4), ((300, 200), 128, 8), ((20_000, 20_000), 256, 16)],
)  # fmt: skip
def test_sides_and_patches_of_pictures_of_one_size(size, side, patch):
    found = values(pictures(sizes={size: 100}))
    assert (found.get("data.image_size"), found["model.patch_size"]) == (side, patch)


@slowly
@given(SIDES, SIDES)
def test_a_patch_divides_both_sides(width, height):
    P = patch_size(width, height)
    assert width % P == height % P == 0


@pytest.mark.parametrize(
    ("images", "batch", "steps", "model"),
    [(2, 1, 800, 64), (180, 32, 2_000, 64), (1_797, 128, 2_000, 64), (2_934, 128, 5_000, 256),
     (50_000, 256, 20_000, 384), (1_281_167, 256, 50_046, 768)],
)  # fmt: skip
def test_the_number_of_images_sets_model_batch_and_steps(images, batch, steps, model):
    found = values(pictures(images))
    keys = ("train.batch_size", "budget.steps", "model.hidden_size")
    assert tuple(found[key] for key in keys) == (batch, steps, model)


@pytest.mark.parametrize(
    ("channels", "classes", "flip"),
    [(3, "cat dog", True), (1, "cat dog", False), (3, "0 1 2", False), (3, "a b", False),
     (3, "all", True)],
)  # fmt: skip
def test_pictures_in_colour_are_mirrored_unless_their_classes_are_symbols(channels, classes, flip):
    survey = pictures(channels=channels, classes=dict.fromkeys(classes.split(), 1))
    found = values(survey)
    assert found["data.horizontal_flip"] is flip
    assert found["model.class_dropout_prob"] == (0.1 if len(survey.classes) > 1 else 0)


@slowly
@given(SURVEYS)
def test_sampling_takes_no_more_passes_than_training_where_samples_are_not_few(survey):
    config = validate(nested(derive(survey)))
    trained = 3 * config.budget.steps * config.train.batch_size
    sampled = config.eval.points * config.eval.samples * config.eval.sampling_steps
    assert sampled <= trained or config.eval.samples in (100, len(survey.classes))


def test_values_that_are_given_take_the_place_of_derived_ones():
    given = {"data.image_size": 32, "budget.flops": 1e12, "data.max_unreadable": 0.5}
    settings = choose(derive(pictures(), given), given)
    assert [setting.key for setting in settings].count("data.image_size") == 1
    config = validate(nested(settings))
    assert config.budget.model_dump(exclude_none=True) == {"flops": 1e12}
    assert (config.data.image_size, config.data.max_unreadable) == (32, 0.5)
    sections = [setting.key.rpartition(".")[0] for setting in settings]
    assert sections == sorted(sections, key=sections.index)


def test_symbols():
    assert are_symbols({"0": 1, "10": 1, "b": 1})
    assert not are_symbols({"0": 1, "dog": 1})


@slowly
@given(st.text())
def test_a_safe_name_is_a_directory_of_results_and_stays_itself(text):
    name = safe_name(text)
    assert validate({"preset": name}).preset == name
    assert safe_name(name) == name
    assert name not in (*presets(), "tune", "reference")
    assert len(name.encode()) < 256


@pytest.mark.parametrize(
    ("text", "name"),
    [("my animals", "my-animals"), ("../a/b", "a-b"), (".hidden", "hidden"), ("x\ny", "x-y"),
     ("digits", "digits-images"), ("Tune", "Tune-images"), ("", "images"), ("???", "images"),
     (unicodedata.normalize("NFD", "fünf"), "fünf"), ("v1.2_final", "v1.2_final")],
)  # fmt: skip
def test_names_are_made_safe(text, name):
    assert safe_name(text) == name


def test_every_number_has_a_reason_that_is_true():
    survey = pictures(2_934, {(96, 128): 2_000, (144, 96): 934})
    why = {key: because for key, _, because in derive(survey)}
    assert why["budget.steps"] == "218 epochs"
    assert math.isclose(5_000 * 128 / 2_934, 218, abs_tol=0.5)
    assert why["model.patch_size"] == "256 tokens per image"
    assert why["data.image_size"] == "the median of the shorter sides is 96 pixels"
