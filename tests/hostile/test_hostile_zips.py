"""Zips that are damaged or malicious: each is one line, and nothing is unpacked."""

import io
import stat
import struct
import zipfile

import pytest
from contract import assert_error, load_or_refuse, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import grey, packed

from ditbench.data.io.limits import MAX_FILE_BYTES
from ditbench.data.pictures.prepared import prepared
from ditbench.errors import DitbenchError


def image(value):
    return grey(value, 8, 8)


GOOD = {"cat/1.png": image(1), "dog/1.png": image(2)}
# Offsets in a member's header in the central directory, PKWARE's APPNOTE 4.3.12.
FLAGS, METHOD, CRC, PACKED, SIZE, COMMENT, OFFSET = 8, 10, 16, 20, 24, 32, 42


def with_header(place, form, value, mark=b"PK\1\2"):
    """The good zip with one number changed in the directory entry of its first member."""
    data = bytearray(packed(GOOD))
    struct.pack_into(form, data, data.index(mark) + place, value)
    return bytes(data)


def with_end(place, form, value):
    """The good zip with one number of its end record changed."""
    return with_header(place, form, value, b"PK\5\6")


def with_member(member, data):
    buffer = io.BytesIO(packed(GOOD))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(member, data)
    return buffer.getvalue()


def with_link():
    link = zipfile.ZipInfo("cat/0.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return with_member(link, "/etc/passwd")


def with_twins():
    with pytest.warns(UserWarning, match="Duplicate"):
        return with_member("cat/1.png", image(3))


def overlapping():
    """Two members that share the same bytes, as in zip bombs."""
    data = bytearray(packed({"cat/1.png": image(1), "cat/2.png": image(1)}))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    struct.pack_into("<I", data, second + OFFSET, 0)
    return bytes(data)


def with_zip64(size):
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    data = bytearray(with_header(SIZE, "<I", 0xFFFFFFFF))
    start = data.index(b"PK\1\2")
    struct.pack_into("<H", data, start + 30, len(extra))
    end = start + 46 + len("cat/1.png")
    data[end:end] = extra
    where = data.index(b"PK\5\6")
    directory = struct.unpack_from("<I", data, where + 12)[0]
    struct.pack_into("<I", data, where + 12, directory + len(extra))
    return bytes(data)


def member(name):
    return lambda: packed({**GOOD, name: image(1)})


ZIPS = {
    "no bytes": (lambda: b"", "not a readable zip"),
    "text": (lambda: b"hello", "not a readable zip"),
    "no members": (lambda: packed({}), "no class folders"),
    "a folder alone": (lambda: packed({"cat/": b""}), "no class folders"),
    "an empty class": (lambda: packed({**GOOD, "eel/": b""}), "class folder eel is empty"),
    "no classes, and one": (lambda: packed({**GOOD, "1.png": image(1)}), "not in a class folder"),
    "a tar": (lambda: b"cat/1.png".ljust(257, b"\0") + b"ustar\0", "not a readable zip"),
    "its end cut off": (lambda: packed(GOOD)[:-22], "not a readable zip"),
    "its end alone": (lambda: packed(GOOD)[-22:], "not a readable zip"),
    "its directory alone": (lambda: packed(GOOD)[packed(GOOD).index(b"PK\1\2"):],
                            "cannot be unpacked"),
    "a member lost in a comment": (lambda: with_header(COMMENT, "<H", 55), "declares 2 members"),
    "its beginning cut off": (lambda: packed(GOOD)[40:], ""),
    "a name that climbs out": (member("../x/1.png"), "points outside"),
    "a name that climbs out inside": (member("cat/../../1.png"), "points outside"),
    "a name that only turns back": (member("cat/../dog/2.png"), "points outside"),
    "an absolute name": (member("/etc/1.png"), "points outside"),
    "a double slash": (member("//host/share/1.png"), "points outside"),
    "a drive": (member("C:/x/1.png"), "points outside"),
    "a drive without a slash": (member("C:x.png"), "points outside"),
    "backslashes that climb": (member("cat\\..\\..\\1.png"), "points outside"),
    "a share": (member("\\\\host\\share\\1.png"), "points outside"),
    "a name with a newline": (member("../a\nerror: forged.png"), "\\nerror: forged"),
    "a name that clears the terminal": (lambda: packed({**GOOD, "cat/\x1b[2J.png": b"x"}),
                                        "\\x1b[2J.png is not an image"),
    "a name of 60,000 characters": (lambda: packed({**GOOD, "cat/" + "x" * 60_000 + ".png": b"x"}),
                                    "x.png is not an image"),
    "a link": (with_link, "cat/0.png is not an image"),
    "a name twice": (with_twins, "2 members are named cat/1.png"),
    "members over each other": (overlapping, "cannot be unpacked"),
    "a declared size of 4 GiB": (lambda: with_header(SIZE, "<I", 0xFFFFFFFE), "too large"),
    "a declared size of 8 EiB": (lambda: with_zip64(2**63 - 1), "too large"),
    "a declared size just above": (lambda: with_header(SIZE, "<I", MAX_FILE_BYTES + 1),
                                   "too large: 67108865 bytes"),
    "a declared size that is short": (lambda: with_header(SIZE, "<I", 20), "cat/1.png"),
    "a declared size that is long": (lambda: with_header(SIZE, "<I", 9_999), "cat/1.png"),
    "a declared size of none": (lambda: with_header(SIZE, "<I", 0), "cat/1.png"),
    "a packed size beyond the file": (lambda: with_header(PACKED, "<I", 2**31), "cat/1.png"),
    "another checksum": (lambda: with_header(CRC, "<I", 7), "cannot be unpacked"),
    "encryption": (lambda: with_header(FLAGS, "<H", 1), "cannot be unpacked"),
    "an unknown compression": (lambda: with_header(METHOD, "<H", 99), "cannot be unpacked"),
    "another compression": (lambda: with_header(METHOD, "<H", 14), "cannot be unpacked"),
    "a member beyond the file": (lambda: with_header(OFFSET, "<I", 2**31), "cannot be unpacked"),
    "a member in the directory": (lambda: with_header(OFFSET, "<I", 99), "cannot be unpacked"),
    "more members than there are": (lambda: with_end(10, "<H", 60_000), "declares 60000 members"),
    "a directory of 4 GiB": (lambda: with_end(12, "<I", 2**32 - 1), "not a readable zip"),
    "a directory beyond the file": (lambda: with_end(16, "<I", 2**31), "cannot be unpacked"),
    "a zip in a zip": (lambda: packed({"cat/1.zip": packed(GOOD)}), "holds no pictures"),
    "64 MiB of zeros": (lambda: packed({"cat/0.png": bytes(MAX_FILE_BYTES)}),
                        "cat/0.png is not an image"),
    "65 MiB of zeros": (lambda: packed({"cat/0.png": bytes(MAX_FILE_BYTES + 2**20)}), "too large"),
}  # fmt: skip
# These may also be read, because nothing in them contradicts the pixels.
READABLE = (
    "its beginning cut off",
    "a declared size that is long",
    "a packed size beyond the file",
)


@pytest.mark.parametrize("name", [name for name in ZIPS if name not in READABLE])
def test_a_zip_that_is_not_a_data_set_is_one_line(refused, tmp_path, name):
    build, reason = ZIPS[name]
    (tmp_path / "data.zip").write_bytes(build())
    path = tmp_path / "data.zip"
    options = ("--preset", "digits", "--block", "adaln", "--device", "cpu")
    refused("run", *options, "--data", path, parts=(reason,))


PLAIN = packed(GOOD)
STORED = packed(GOOD, compression=zipfile.ZIP_STORED)


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "data.zip"
    path.write_bytes(PLAIN)
    return prepared(path).digest


def same_or_refused(path, digest):
    """Read the same pixels, or refuse with a proper error; no file is left behind."""
    before = tree(path.parent)
    read = load_or_refuse(lambda: prepared(path).digest)
    assert read in (digest, None)
    assert tree(path.parent) == before


@pytest.mark.parametrize("name", READABLE)
def test_an_odd_zip_gives_its_own_pixels_or_none(tmp_path, digest, name):
    (tmp_path / "data.zip").write_bytes(ZIPS[name][0]())
    same_or_refused(tmp_path / "data.zip", digest)


@pytest.mark.parametrize("whole", [PLAIN, STORED], ids=["deflated", "stored"])
def test_a_zip_cut_anywhere_is_refused(tmp_path, digest, whole):
    for length in range(0, len(whole), 3):
        (tmp_path / "data.zip").write_bytes(whole[:length])
        with pytest.raises(DitbenchError) as caught:
            prepared(tmp_path / "data.zip")
        assert_error(caught.value)


# Names have no checksum: changed, they make another data set.
NAMES = (b"cat/1.png", b"dog/1.png")


def _is_a_name(whole, place):
    return any(
        start <= place < start + len(name)
        for name in NAMES
        for start in (whole.index(name), whole.rindex(name))
    )


@pytest.mark.parametrize("whole", [PLAIN, STORED], ids=["deflated", "stored"])
def test_a_zip_with_a_changed_byte_gives_its_own_pixels_or_none(tmp_path, digest, whole):
    for place in range(0, len(whole), 2):
        if _is_a_name(whole, place):
            continue
        data = bytearray(whole)
        data[place] ^= 0x41
        (tmp_path / "data.zip").write_bytes(bytes(data))
        same_or_refused(tmp_path / "data.zip", digest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=2, max_size=9))
def test_a_zip_with_many_changed_bytes_loads_or_is_one_line(tmp_path_factory, flips):
    data = bytearray(PLAIN)
    for place, flip in flips:
        data[int(place * (len(data) - 1))] ^= flip
    path = tmp_path_factory.mktemp("fuzz") / "data.zip"
    path.write_bytes(bytes(data))
    load_or_refuse(lambda: prepared(path))
