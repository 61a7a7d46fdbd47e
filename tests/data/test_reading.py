"""The progress of reading pictures is reported."""

from pictures import grey, write_folder

from ditbench.data.pictures.prepared import prepared
from ditbench.data.pictures.settings import Settings
from ditbench.data.reading import shown_by


def test_each_picture_that_is_read_is_reported(tmp_path):
    shown = []
    path = write_folder(tmp_path / "data", {"1.png": grey(1), "2.png": grey(2), "x.png": b"x"})
    with shown_by(lambda done, total: shown.append((done, total))):
        data = prepared(path, Settings(max_unreadable=0.5))
    assert len(data) == 2
    assert shown == [(1, 3), (2, 3), (3, 3)]
    prepared(path, Settings(max_unreadable=0.5, image_size=4))
    assert len(shown) == 3  # nobody asked
