import pytest
from pictures import grey, nasty, write_folder, write_zip

from ditbench.data.pictures.prepared import prepared
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError

ANY = Settings(max_unreadable=1.0)


def values(data):
    return data.images[:, 0, 0, 0].tolist()


@pytest.fixture(params=[write_folder, write_zip], ids=["folder", "zip"])
def read(request, tmp_path):
    """The data set of files: name -> grey value, or content."""

    def load(files, settings=Settings()):  # noqa: B008
        data = {name: grey(v) if isinstance(v, int) else v for name, v in files.items()}
        return prepared(request.param(tmp_path / "data.zip", data), settings)

    return load


@pytest.mark.parametrize("held_out", ["val", "Test", "validation"])
@pytest.mark.parametrize("wrap", ["", "set/"])
def test_train_is_trained_on_and_the_other_held_out(read, held_out, wrap):
    tree = {"train/cat/1.png": 1, "train/dog/1.png": 2, f"{held_out}/dog/2.png": 3}
    data = read({wrap + name: value for name, value in tree.items()})
    assert (values(data), data.class_names) == ([1, 2], ("cat", "dog"))
    assert values(data.held_out) == [3]


def test_of_several_held_out_splits_one_is_used(read):
    data = read({"train/1.png": 1, "test/1.png": 2, "val/1.png": 3})
    assert values(data.held_out) == [3]
    assert data.notes == ("test/ is not used",)


def test_a_class_may_be_called_train(read):
    data = read({"bus/1.png": 1, "train/1.png": 2})
    assert data.class_names == ("bus", "train")
    assert data.held_out is None


def test_train_and_a_folder_without_pictures(read):
    data = read({"train/cat/1.png": 1, "train/dog/1.png": 2, "docs/a.txt": b"x"})
    assert data.class_names == ("cat", "dog")


def test_held_out_pictures_without_classes(read):
    data = read({"train/cat/1.png": 1, "train/dog/1.png": 2, "test/1.png": 3})
    assert data.held_out.class_names == ("all",)
    assert data.notes == ()


def test_held_out_classes_that_are_not_trained_are_said(read):
    data = read({"train/cat/1.png": 1, "val/eel/1.png": 3})
    assert data.notes == ("held-out classes that are not trained: eel",)


def test_held_out_pictures_have_the_channels_of_the_others(read, tmp_path):
    colour = (nasty(tmp_path / "n", 14) / "val/class 2/0.png").read_bytes()
    size = Settings(image_size=4)
    data = read({"train/1.png": 1, "val/1.png": colour}, size)
    assert data.channels == data.held_out.channels == 1
    assert data.held_out.notes == ("1 RGB made grey",)
    other = read({"train/1.png": colour, "val/1.png": 1}, size)
    assert other.channels == other.held_out.channels == 3
    assert other.held_out.notes == ("1 grey made RGB",)


def test_a_flat_folder_has_one_class(read):
    data = read({"2.png": 2, "1.png": 1, "notes.md": b"x", "Thumbs.db": b"x"})
    assert (values(data), data.class_names) == ([1, 2], ("all",))


def test_files_that_are_not_pictures_are_passed_over_and_counted(read):
    data = read({"cat/1.png": 1, "cat/1.txt": b"a cat", "cat/1.json": b"{}", "cat/2": 2})
    assert values(data) == [1, 2]  # a picture needs no suffix
    assert data.notes == ("files of other formats passed over: 1 .json, 1 .txt",)


TABLE = b"file_name,text,label\n1.png,a cat,cat\nsub/2.png,a dog,dog 10\n3.png,a dog,dog 9\n"
PICTURES = {"1.png": 1, "sub/2.png": 2, "3.png": 3}


@pytest.mark.parametrize("wrap", ["", "set/", "train/"])
def test_metadata_csv_gives_the_classes(read, wrap):
    files = PICTURES | {"metadata.csv": TABLE, "4.png": 4}
    data = read({wrap + name: value for name, value in files.items()})
    assert data.class_names == ("cat", "dog 9", "dog 10")
    assert values(data) == [1, 3, 2]
    assert data.notes == (f"1 picture that {wrap}metadata.csv does not list passed over",)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"], ids=["comma", "semicolon", "tab"])
def test_the_header_of_a_table_decides_the_delimiter(read, delimiter, mark):
    rows = [b'"file_name"', b"label"], [b"1.png", b'"cat;, \t1"'], [b"3.png", b"dog"]
    table = mark + b"\r\n".join(delimiter.join(row) for row in rows)
    data = read({"1.png": 1, "3.png": 3, "metadata.csv": table})
    assert (data.class_names, values(data)) == (("cat;, \t1", "dog"), [1, 3])
    assert data.notes == ()


def test_delimiters_below_the_header_are_text(read):
    table = b"file_name,label\n1.png,a;b\n2.png,a;c\n"
    data = read({"1.png": 1, "2.png": 2, "metadata.csv": table})
    assert data.class_names == ("a;b", "a;c")


def test_any_column_may_be_asked_for(read):
    data = read(PICTURES | {"metadata.csv": TABLE}, Settings(label_column="text"))
    assert data.class_names == ("a cat", "a dog")


def test_json_lines_of_numbers(read):
    lines = b'{"file_name": "1.png", "label": 10}\n{"file_name": "3.png", "label": 9}\n'
    data = read({"1.png": 1, "3.png": 3, "metadata.jsonl": lines})
    assert (data.class_names, values(data)) == (("9", "10"), [3, 1])


def test_captions_alone_are_not_classes(read):
    data = read({"1.png": 1, "metadata.csv": b"file_name,text\n1.png,a cat\n"})
    assert data.class_names == ("all",)
    assert data.notes[0].startswith("metadata.csv is not used: it has no column file_name with ")
    assert "its columns are file_name, text; --set data.label_column=NAME names" in data.notes[0]


def test_a_table_of_another_name_is_pointed_out(read):
    data = read({"1.png": 1, "labels.csv": b"file_name,label\n1.png,cat\n"})
    assert data.class_names == ("all",)
    assert data.notes == ("labels.csv is not used: a table of classes is metadata.csv",)


def test_a_picture_that_is_listed_twice_is_pointed_out(read):
    table = b"file_name,label\n1.png,cat\n1.png,dog\n2.png,dog\n"
    data = read({"1.png": 1, "2.png": 2, "metadata.csv": table})
    assert values(data) == [1, 1, 2]
    assert data.notes == ("1 picture that metadata.csv lists more than once, first 1.png",)


def test_a_column_that_is_not_there(read):
    with pytest.raises(DitbenchError, match="has no column kind") as raised:
        read(PICTURES | {"metadata.csv": TABLE}, Settings(label_column="kind"))
    assert raised.value.hint == "its columns are file_name, text, label"


@pytest.mark.parametrize("tables", [{}, {"metadata.csv": b"image,kind\n1.png,cat\n"}])
def test_a_column_that_is_asked_for_needs_a_table(read, tables):
    with pytest.raises(DitbenchError, match=r"with the columns file_name and kind$") as raised:
        read({"a/1.png": 1, "b/2.png": 2} | tables, Settings(label_column="kind"))
    assert "leave out data.label_column" in raised.value.hint


def test_one_percent_may_be_unreadable(read):
    files = {f"{n:03}.png": n for n in range(99)}
    data = read(files | {"a/b": b"x", "x.png": b"x"})
    assert len(data) == 99
    assert data.notes == ("1 unreadable skipped (x.png is not an image)",)
    assert data.problems == ("x.png is not an image",)


def test_of_more_the_first_ten_are_named(read):
    files = {f"{n:03}.png": n for n in range(99)} | {f"x{n:02}.png": b"x" for n in range(12)}
    with pytest.raises(DitbenchError, match="12 of 111 pictures cannot be read") as raised:
        read(files)
    assert "x09.png is not an image; ..." in raised.value.message
    assert "x10" not in raised.value.message
    assert raised.value.hint.endswith("--set data.max_unreadable=0.109")
    assert len(read(files, Settings(max_unreadable=0.109))) == 99


def test_a_class_whose_pictures_are_all_unreadable(read):
    with pytest.raises(DitbenchError, match="class dog holds no pictures"):
        read({"cat/1.png": 1, "dog/1.png": b"x"}, ANY)


def test_the_place_of_a_random_crop_depends_on_the_name_alone(read, tmp_path):
    image = (nasty(tmp_path / "n", 14) / "val/class 2/0.png").read_bytes()
    files = {f"{n}.png": image for n in range(4)}
    first = read(files, Settings(image_size=16, random_crop=True))
    second = read(dict(reversed(files.items())), Settings(image_size=16, random_crop=True))
    assert first.digest == second.digest
    assert len({bytes(x.numpy().tobytes()) for x in first.images}) > 1
    centre = read(files, Settings(image_size=16))
    assert len({bytes(x.numpy().tobytes()) for x in centre.images}) == 1


def test_held_out_pictures_that_are_gone_are_one_message(tmp_path):
    files = {"train/1.png": grey(1), "val/1.png": grey(2)}
    data = prepared(write_folder(tmp_path / "data", files))
    (tmp_path / "data/val/1.png").unlink()
    with pytest.raises(DitbenchError, match=r"the held-out images of .* are gone"):
        _ = data.held_out


@pytest.mark.parametrize(
    "row",
    ['{"file_name": "2.png"}', '{"label": "cat"}', "[" * 100_000],
    ids=["no label", "no name", "nested"],
)
def test_a_row_of_a_table_that_is_unlike_the_first_is_one_message(read, row):
    table = '{"file_name": "1.png", "label": "cat"}\n' + row
    with pytest.raises(DitbenchError, match=r"metadata\.jsonl"):
        read({"1.png": 1, "2.png": 2, "metadata.jsonl": table.encode()})
