"""The files of a folder or a zip, and how messages name them."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import IO, Self

from ditbench.data.io.limits import MAX_FILE_BYTES
from ditbench.errors import DitbenchError, one_line

# Files that file managers create; hidden files are ignored, too.
LITTER = ("thumbs.db", "desktop.ini", "__macosx")
MAX_SHOWN = 400  # characters of a file name in a message
# A file that stands for one that was not fetched: how it begins; message and hint.
LFS = b"version https://git-lfs"
POINTER = ("it is a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull")
# The end record of a zip (APPNOTE 4.3.16); only its number of members is read.
END_RECORD = struct.Struct("<10xH10x")
UNKNOWN = 2**16 - 1  # the number does not fit into 16 bits


class Files:
    """The files below a folder, under relative names with forward slashes, read one at a time.

    `ZipFiles` has the same methods. Symbolic links are followed. `names` and `read` raise a
    DitbenchError if the system refuses, a link points to a folder that contains it, or a name is a
    pipe, a socket or a device.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del error  # nothing is open

    def where(self, name: str) -> str:
        """A file as a message names it."""
        return f"{shown(self.path)}: {shown(name)}"

    def names(self) -> list[str]:
        """All names; the name of a folder ends in `/`."""
        return self._below("", (self.path.resolve(),))

    def _below(self, prefix: str, parents: tuple[Path, ...]) -> list[str]:
        """The names that begin with `prefix`; `parents` are the resolved folders around them."""
        names: list[str] = []
        folder = self.path / prefix
        try:
            for entry in os.scandir(folder):  # unlike `rglob`, it follows links to folders
                name = prefix + entry.name
                names.append(f"{name}/" if entry.is_dir() else name)
                if not entry.is_dir() or entry.name.startswith("."):
                    continue  # of a hidden folder, such as a repository, nothing is read
                target = (folder / entry.name).resolve()
                if target in parents:
                    what = f"{shown(self.path / name)} is a link to a folder that contains it"
                    raise DitbenchError(what, "remove the link")
                names += self._below(f"{name}/", (*parents, target))
        except OSError as error:
            raise cannot_read(folder, error) from error
        return names

    def read(self, name: str) -> bytes:
        """The content of one file, at most `MAX_FILE_BYTES + 1` bytes of it."""
        with self.open(name) as file:
            try:
                return file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                raise cannot_read(self.path / name, error) from error

    def size(self, name: str) -> int:
        """The bytes of one file."""
        try:
            return (self.path / name).stat().st_size
        except OSError as error:
            raise cannot_read(self.path / name, error) from error

    def open(self, name: str) -> IO[bytes]:
        """One file, open for reading."""
        path = self.path / name
        try:
            # Opening a pipe waits for a writer, and reading a device may never end.
            if path.exists() and not path.is_file():
                what = f"{shown(path)} is a pipe, a socket or a device, expected an image file"
                raise DitbenchError(what, "remove it from the class folder")
            return path.open("rb")
        except OSError as error:
            raise cannot_read(path, error) from error


class ZipFiles(Files):
    """The members of a zip file; nothing is unpacked to disk. `kind` is what an error calls it.

    Raises a DitbenchError if it is not a zip, a name is absolute, contains `..` or stands twice, or
    a member is damaged, encrypted, or declares more than `MAX_FILE_BYTES`.
    """

    def __init__(self, path: Path, kind: str = "zip") -> None:
        super().__init__(path)
        if not path.is_file():  # opening a pipe waits for a writer
            what = "a folder" if path.is_dir() else "neither a file nor a folder"
            raise _unreadable(path, kind, f"it is {what}")
        try:
            self.zip = zipfile.ZipFile(path)
        except OSError as error:
            raise cannot_read(path, error) from error
        except Exception as error:  # a damaged directory raises anything, even struct.error
            raise _unreadable(path, kind, str(error)) from error
        found, declared = len(self.zip.infolist()), _declared_members(path)
        if declared not in (found % (UNKNOWN + 1), UNKNOWN):
            raise _unreadable(path, kind, f"it declares {declared} members and holds {found}")

    def names(self) -> list[str]:
        """All names; the name of a folder ends in `/`."""
        names = self.zip.namelist()
        for name in names:
            if _points_outside(name):
                raise DitbenchError(
                    f"{shown(self.path)}: member {shown(repr(name))} points outside of the zip",
                    "do not trust this file; pack the class folders again with relative names",
                )
            if "\\" in name:  # APPNOTE 4.4.17.1 demands forward slashes
                raise DitbenchError(
                    f"{shown(self.path)}: member {shown(name)} has a backslash in its name: the "
                    "program that packed it separates folders as Windows does",
                    "pack the class folders again with another program: python -m zipfile -c "
                    "data.zip cat dog",
                )
        for name, count in Counter(names).most_common(1):
            if count > 1:  # only the last of them can be read
                what = f"{shown(self.path)}: {count} members are named {shown(name)}"
                raise DitbenchError(what, "pack the class folders again, each file once")
        return names

    def read(self, name: str) -> bytes:
        """The content of one member; `zipfile` verifies its checksum."""
        size = self.zip.getinfo(name).file_size
        if size > MAX_FILE_BYTES:
            raise DitbenchError(
                f"{self.where(name)} is too large: {size} bytes",
                f"a file may have up to {MAX_FILE_BYTES} bytes: scale the image down",
            )
        try:
            return self.zip.read(name)
        except Exception as error:  # checksum, stream, password, unknown compression
            what = f"{self.where(name)} cannot be unpacked: {reason(error)}"
            raise DitbenchError(what, "pack the class folders again") from error

    def size(self, name: str) -> int:
        """The bytes of one member."""
        return self.zip.getinfo(name).file_size

    def open(self, name: str) -> IO[bytes]:
        """The content of one member."""
        return io.BytesIO(self.read(name))

    def __exit__(self, *error: object) -> None:
        self.zip.close()


def _declared_members(path: Path) -> int:
    """The number of members that the end record declares.

    `zipfile` ignores it: from a damaged directory it would silently return fewer members.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_RECORD.size - 2**16))
        end = file.read()
    return int(END_RECORD.unpack_from(end, end.rfind(b"PK\5\6"))[0])


def _unreadable(path: Path, kind: str, reason: str) -> DitbenchError:
    why = "" if reason == "File is not a zip file" else f": {shown(reason)}"
    hint = "pass a folder or a .zip of class folders, or an .npz of images and labels"
    return DitbenchError(f"{shown(path)} is not a readable {kind} file{why}", hint)


def shown(name: object) -> str:
    """A file name as a message shows it: on one line, not too long, nothing unprintable."""
    return one_line(str(name), MAX_SHOWN)


def reason(error: Exception) -> str:
    """The error of another library, as a message shows it."""
    return shown(str(error) or type(error).__name__)


def is_pointer(path: Path) -> bool:
    """Whether a file stands for one that Git LFS has not fetched."""
    with path.open("rb") as file:
        return file.read(len(LFS)) == LFS


def ignored(name: str) -> bool:
    """Whether a file is hidden, or left behind by a file manager."""
    return any(part.startswith(".") or part.lower() in LITTER for part in parts_of(name))


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a relative name: those of a `PurePosixPath`, in less time."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _points_outside(name: str) -> bool:
    """Whether a name is absolute or contains `..`, on any system."""
    if not (name.startswith("/") or ".." in name or ":" in name or "\\" in name):
        return False  # as of most names: a path takes time
    path = PureWindowsPath(name)  # which has the separators of both systems
    return bool(path.anchor) or ".." in path.parts


def contains(folder: Path, path: Path) -> bool:
    """Whether a file at `path` would be among the files of a folder that are not ignored."""
    if not os.path.isdir(folder):  # noqa: PTH112 (`Path.is_dir` raises for some names)
        return False
    outer, inner = (Path(os.path.realpath(each)) for each in (folder, path))
    return inner.is_relative_to(outer) and not ignored(str(inner.relative_to(outer)))


def open_files(path: Path) -> Files:
    """The files of a folder or a zip. Raises a DitbenchError if it is neither."""
    must_exist(path)
    return Files(path) if path.is_dir() else ZipFiles(path)


def must_exist(path: Path) -> None:
    """Raise a DitbenchError if nothing exists at `path`."""
    if not os.path.exists(path):  # noqa: PTH110 (`Path.exists` raises for a name that is too long)
        what = f"no such data: {shown(path)}"
        raise DitbenchError(what, "check the path, on the command line or in the configuration")


def cannot_read(path: Path, error: OSError) -> DitbenchError:
    """The error for a file or folder that the system refuses to read."""
    what = f"cannot read {shown(path)}: {error.strerror or error}"
    return DitbenchError(what, "check its permissions")


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Size and times of a file, which change when it does; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    # Programs can set the modification time, but not the time of the last change.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
