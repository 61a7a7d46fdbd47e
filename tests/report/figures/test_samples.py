from __future__ import annotations

import re

import numpy as np
import pytest
from boxes import assert_apart
from matplotlib.image import imread, imsave

from ditbench.errors import DitbenchError
from ditbench.report.figures.samples import first_rows, samples_figure
from ditbench.report.reading.results import load_results


def test_samples_show_the_first_rows_of_the_lowest_common_seed(make_run, results):
    make_run("adaln", 0, images=True)
    expected = {}
    for seed in (2, 1):
        for block in ("adaln-zero", "adaln"):
            run = make_run(block, seed, images=True)
            grid = imread(run.last_samples())[..., 0].reshape(3, 50, 10, 50)
            tiles = grid[:2, :48:6, :, :48:6].swapaxes(1, 2)
            expected[seed, block] = _draw_grid(tiles, 1, 1)
    figure = samples_figure(load_results(results))
    assert [axes.get_label() for axes in figure.axes] == ["adaln", "adaln-zero"]
    for axes in figure.axes:
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array()[..., 0], expected[1, axes.get_label()])
        assert image.get_interpolation() == "nearest"
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["digits 8x8x1, 64x4x4/2, flow, step 1,200, seed 1", "adaLN", "adaLN-Zero"]


def test_blocks_that_end_apart_say_so(make_run, results):
    """As under a budget of FLOPs or seconds."""
    for block in ("adaln", "adaln-zero"):
        for seed in (0, 1):
            make_run(block, seed, images=True)
    frame = load_results(results)
    frame.loc[frame["final"] & (frame["block"] == "adaln"), "step"] = 1180
    frame.loc[frame["final"] & (frame["seed"] == 1), "step"] = 900  # not the one that is shown
    title = samples_figure(frame).texts[0].get_text()
    assert title == "digits 8x8x1, 64x4x4/2, flow, steps 1,180 to 1,200, seed 0"


def test_pixels_of_samples_are_squares_of_one_size(make_run, results):
    make_run("adaln", 0, images=True)
    figure = samples_figure(load_results(results))
    (axes,) = figure.axes
    box = axes.get_position()
    wide, high = box.width * figure.get_figwidth() * 200, box.height * figure.get_figheight() * 200
    rows, columns = axes.images[0].get_array().shape[:2]
    assert wide / columns == pytest.approx(round(wide / columns))
    assert high / rows == pytest.approx(wide / columns)


def test_no_text_of_a_sample_figure_is_clipped_or_overlaps(make_run, results):
    for objective in ("flow", "ddpm"):
        for block in ("cross-attention", "a-block-with-a-long-name"):
            make_run(block, 0, images=True, objective__name=objective, train__lr=2e-3)
    figure = samples_figure(load_results(results))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    assert_apart(boxes, figure)


def test_a_block_without_samples_is_named(make_run, results):
    make_run("adaln", 0, images=True)
    make_run("adaln-zero", 0)
    runs = load_results(results)
    with pytest.raises(DitbenchError, match="no sample grid of adaln-zero") as raised:
        samples_figure(runs)
    # `ditbench run` would say that the run is complete.
    path = runs[runs["block"] == "adaln-zero"]["path"].iloc[0]
    assert raised.value.hint == (
        f"draw it from a checkpoint: ditbench sample {path} -o {path}/samples/step-001200.png"
    )


def test_samples_of_different_seeds_are_not_put_side_by_side(make_run, results):
    make_run("adaln", 0, images=True)
    make_run("adaln-zero", 1, images=True)
    with pytest.raises(DitbenchError, match="no seed for which each of adaln, adaln-zero"):
        samples_figure(load_results(results))


def test_groups_without_grids_are_skipped_with_a_note_each(make_run, results):
    make_run("adaln", 0, images=True)
    make_run("adaln", 0, objective__name="ddpm")
    make_run("adaln", 0, images=True, train__batch_size=64)
    make_run("joint", 1, images=True, train__batch_size=64)
    notes = []
    figure = samples_figure(load_results(results), notes.append)
    assert [axes.get_label() for axes in figure.axes] == ["adaln"]
    first, second = sorted(notes, key=lambda note: "batch size 64" in note)
    assert first.endswith("ddpm: no sample grid of adaln")
    assert second.endswith(
        "batch size 64: no seed for which each of adaln, joint has a sample grid"
    )


def test_without_any_grid_the_error_names_the_group(make_run, results):
    make_run("adaln", 0)
    with pytest.raises(DitbenchError, match=r"^digits 8x8x1, .*, flow: no sample grid of adaln$"):
        samples_figure(load_results(results))


@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_a_damaged_grid_is_named(make_run, results, damage):
    grid = make_run("adaln", 0, images=True).last_samples()
    grid.write_bytes(grid.read_bytes()[:-60] if damage is None else damage)
    with pytest.raises(DitbenchError, match=re.escape(str(grid))):
        samples_figure(load_results(results))


def _draw_grid(tiles, scale, gap):
    """Tiles (rows, columns, H, W), enlarged, with white lines of `gap` pixels between them."""
    tiles = tiles.repeat(scale, 2).repeat(scale, 3)
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=1)
    rows, columns, height, width = padded.shape
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width)[:-gap, :-gap]


@pytest.mark.parametrize(
    ("rows", "channels", "height", "width", "gap"),
    [(8, 1, 8, 8, 1), (8, 3, 32, 32, 2), (1, 1, 28, 20, 1), (3, 3, 64, 48, 2)],
)
def test_the_grids_that_training_writes_are_understood(
    make_run, results, rows, channels, height, width, gap
):
    torch = pytest.importorskip("torch")
    from ditbench.runs.scoring.sample import save_grid

    size = f"{height}x{width}x{channels}"
    images = torch.randint(0, 256, (rows * 10, channels, height, width), dtype=torch.uint8)
    run = make_run("adaln", 0, input_size=size)
    save_grid(run.samples(1200), images, columns=10)
    (axes,) = samples_figure(load_results(results)).axes
    tiles = images.numpy().reshape(rows, 10, channels, height, width)[:2] / 255
    shown = axes.images[0].get_array()
    for channel in range(3):
        expected = _draw_grid(tiles[:, :, channel % channels], 1, gap)
        np.testing.assert_allclose(shown[..., channel], expected, atol=1e-6)


def test_a_grid_of_another_size_is_shown_whole():
    grid = np.random.default_rng(0).random((101, 37))
    assert first_rows(grid, 8, 8) is grid


@pytest.mark.parametrize(
    "size", ["8x8", "0x8x1", "8x-8x1", "8x8xone", "8x8x1\n", "9" * 5000 + "x8x1"]
)
def test_an_input_size_that_is_none_is_an_error(make_run, results, size):
    make_run("adaln", 0, images=True)
    frame = load_results(results).assign(input=size)
    with pytest.raises(DitbenchError, match="is not an input size"):
        samples_figure(frame)


def test_colour_grids_are_drawn_as_they_are(make_run, results):
    run = make_run("adaln", 0)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    run.samples(1200).parent.mkdir()
    imsave(run.samples(1200), image)
    (axes,) = samples_figure(load_results(results)).axes
    np.testing.assert_allclose(axes.images[0].get_array()[..., :3] * 255, image, atol=0.01)
