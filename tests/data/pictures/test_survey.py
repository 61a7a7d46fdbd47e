import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, grey, nasty, write_folder, write_zip
from PIL import Image

from ditbench.data.pictures.prepared import prepared
from ditbench.data.pictures.settings import Settings
from ditbench.data.pictures.survey import survey


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return nasty(tmp_path_factory.mktemp("pictures") / "my pets")


def test_a_survey_says_what_reading_will_do(folder):
    found = survey(folder, Settings(image_size=64))
    data = prepared(folder, Settings(image_size=64))
    assert data.images.shape == (120, 3, 64, 64)
    # Damage behind a header is not seen.
    assert [note for note in data.notes if "unreadable" not in note] == [*found.notes]
    assert found.images == len(data) + 1
    assert found.classes == {"class 2": 12, "class 10": 109}
    assert (found.name, found.channels, found.held_out) == ("my pets", 3, len(data.held_out))
    assert found.problems == ()
    assert data.problems == ("train/class 2/broken.png is damaged or cut short",)
    assert {*found.notes} == {
        "1 of 16 bits made 8",
        "1 black and white made grey",
        "1 CMYK made RGB",
        "1 rotated by EXIF",
        "2 transparent flattened over white",
        "1 animated or of several pages: the first is taken",
        "1 palette made RGB",
        f"{sum(count for size, count in found.sizes.items() if min(size) < 64)} enlarged to 64",
        "5 grey made RGB",
        "files of other formats passed over: 1 .txt",
    }


def test_sizes_are_as_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {"1.jpg": encode(np.zeros((10, 20), np.uint8), "JPEG", exif=exif), "2.png": grey(1)}
    found = survey(write_folder(tmp_path, files))
    assert found.sizes == {(10, 20): 1, (6, 4): 1}
    assert found.common_size is None
    assert found.shorter_side == 4
    assert found.channels == 1


def test_all_problems_at_once(tmp_path):
    files = {"cat/1.png": b"x", "cat/2.png": grey(1), "dog/1.txt": b"x", "stray.png": grey(1)}
    (write_folder(tmp_path, files) / "eel").mkdir()
    found = survey(tmp_path)
    assert not any("unreadable" in note for note in found.notes)  # it is not skipped
    messages = [error.message for error in found.problems]
    parts = ("stray.png is not in a class", "eel is empty", "1.png is not an image", "class dog")
    assert len(messages) == len(parts)
    for message, part in zip(messages, parts, strict=True):
        assert part in message


def test_a_common_size_and_a_median(tmp_path):
    files = {f"{n}.png": grey(n, 8, 8) for n in range(3)}
    assert survey(write_zip(tmp_path / "a.zip", files)).common_size == (8, 8)
    files |= {"x.png": grey(0, 30, 40)}
    assert survey(write_zip(tmp_path / "a.zip", files)).shorter_side == 8


def test_the_current_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "here", {"1.png": grey(1)}))
    assert survey(Path()).name == "here"


def test_a_data_set_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = survey(Path("digits"))
    assert (found.source, found.path, found.images, found.channels) == ("digits", None, 1_797, 1)
    assert sum(found.classes.values()) == 1_797
    assert found.common_size == (8, 8)


def test_torch_is_not_imported(folder):
    program = (
        "import sys; from pathlib import Path; from ditbench.data.pictures.survey import survey; "
        f"survey(Path({str(folder)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
