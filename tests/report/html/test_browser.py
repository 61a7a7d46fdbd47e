"""The report in a real browser: Chromium without a window, if there is one."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from ditbench.report.html.page import report_html
from ditbench.report.reading.results import load_results

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no Chromium here: apt-get install chromium"),
]
LIGHT, DARK = (255, 255, 255), (22, 24, 29)


@pytest.fixture
def page(make_run, results, tmp_path):
    for level, block in ((9.0, "adaln"), (6.0, "adaln-zero"), (7.0, "<b>\u202emy block")):
        for seed in range(3):
            make_run(block, seed, (200.0, 50.0, level + 0.1 * seed), images=seed == 0)
    file = tmp_path / "report.html"
    file.write_text(report_html(load_results(results)), "utf-8")
    return file


def browse(page, *options):
    """Open a page; returns what the browser printed."""
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}",
        *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    # Of the page, such as a style that its policy forbids. Chromium's own messages say otherwise.
    assert "CONSOLE" not in done.stderr
    return done.stdout


def screenshot(page, name, width, *options):
    file = page.with_name(f"{name}.png")
    browse(page, f"--screenshot={file}", f"--window-size={width},2600", *options)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize(("scheme", "background"), [(1, LIGHT), (0, DARK)], ids=["light", "dark"])
def test_the_page_follows_the_scheme(page, scheme, background):
    pixels = screenshot(page, "page", 1000, f"--blink-settings=preferredColorScheme={scheme}")
    assert pixels.shape == (2600, 1000, 3)
    assert tuple(pixels[0, 0]) == background
    ink = (np.abs(pixels.astype(int) - background).max(axis=2) > 60).mean(axis=1)
    assert ink[:400].max() > 0.1  # the verdict
    assert (ink > 0).mean() > 0.3  # and not an empty page below it


def test_a_narrow_window_cuts_nothing(page):
    pixels = screenshot(page, "narrow", 500)
    assert (pixels[:, -8:] == LIGHT).all()  # the margin is free


def test_it_prints_on_white(page):
    file = page.with_name("report.pdf")
    browse(page, f"--print-to-pdf={file}", "--blink-settings=preferredColorScheme=0")
    content = file.read_bytes()
    assert content.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
