"""Named files in a folder or in a zip, read one at a time; nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import struct
import zipfile
from collections import Counter
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Protocol, Self

from ditbench.errors import DitbenchError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Above an uncompressed 4096 x 4096 RGB image; bounds what one member of a zip can unfold to.
MAX_FILE_BYTES = 64 * 2**20
# The record at the end of a zip, of which the count of members is read, and its value for "more".
END_RECORD = struct.Struct("<10xH10x")
NO_COUNT = 2**16 - 1
# Of a name that is shown: more of it would bury what the line says.
MAX_SHOWN = 400


class Files(Protocol):
    """A tree of files under relative names with forward slashes."""

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""

    def read(self, name: str) -> bytes:
        """The content of one file, at most `MAX_FILE_BYTES + 1` bytes of it."""

    def stamps(self, names: Iterable[str]) -> list[tuple[int, ...]]:
        """Sizes and times of change: something in them differs once a file does; or an OSError."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class FolderFiles:
    """The files below a folder; links are followed, their names are not changed.

    Raises:
        DitbenchError: from `names` and `read`, when the system refuses, a link leads back to a
            folder that it lies in, or a file is none (a pipe or a device); the file is named.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""
        return self._below("", (self.path.resolve(),))

    def _below(self, prefix: str, above: tuple[Path, ...]) -> list[str]:
        """The names below one folder, which begin with `prefix`; `above` are those it lies in."""
        names: list[str] = []
        folder = self.path / prefix
        try:
            # Not `rglob`, which takes a link to a class folder for an empty one.
            for entry in os.scandir(folder):
                if not entry.is_dir():
                    names.append(prefix + entry.name)
                    continue
                inner = f"{prefix}{entry.name}/"
                names.append(inner)
                if entry.name.startswith("."):
                    continue  # a repository, say, of which nothing is read
                place = (folder / entry.name).resolve()
                if place in above:
                    raise DitbenchError(
                        f"{shown(self.path / inner)} is a link to a folder that it lies in",
                        "remove the link: what it holds would never end",
                    )
                names += self._below(inner, (*above, place))
        except OSError as error:
            raise _cannot_read(folder, error) from error
        return names

    def read(self, name: str) -> bytes:
        """The content of one file."""
        path = self.path / name
        try:
            # Opening a pipe would wait for a writer, and a device may never end.
            if path.exists() and not path.is_file():
                raise DitbenchError(
                    f"{shown(path)} is not a file, but a pipe, a socket or a device",
                    "remove it from the class folder",
                )
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise _cannot_read(path, error) from error

    def stamps(self, names: Iterable[str]) -> list[tuple[int, ...]]:
        """Size and times of change of each file."""
        return [_stamp(self.path / name) for name in names]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class ZipFiles:
    """The members of a zip file; `kind` is what an error calls it.

    Raises:
        DitbenchError: not a zip, a name that is absolute or climbs out with `..`, a name that two
            members have, a member that is damaged, encrypted, or declares more than
            `MAX_FILE_BYTES`; the member is named.
    """

    def __init__(self, path: Path, kind: str = "zip") -> None:
        self.path = path
        if not path.is_file():  # opening a pipe would wait for a writer
            what = "it is a folder" if path.is_dir() else "it is neither a file nor a folder"
            raise _unreadable(path, kind, what)
        try:
            self.zip = zipfile.ZipFile(path)
        except OSError as error:
            raise _cannot_read(path, error) from error
        except Exception as error:  # whatever a damaged directory provokes, struct.error included
            raise _unreadable(path, kind, str(error)) from error
        held, declared = len(self.zip.infolist()), _declared_members(path)
        if declared not in (held % (NO_COUNT + 1), NO_COUNT):
            raise _unreadable(path, kind, f"it declares {declared} members and holds {held}")

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""
        names = self.zip.namelist()
        for name in names:
            # Judged as both systems would: the zip may come from either.
            posix, windows = PurePosixPath(name), PureWindowsPath(name)
            if posix.is_absolute() or windows.anchor or ".." in windows.parts:
                raise DitbenchError(
                    f"{shown(self.path)}: member {shown(repr(name))} points outside of the zip",
                    "do not trust this file; pack the class folders again with relative names",
                )
        name, count = Counter(names).most_common(1)[0] if names else ("", 0)
        if count > 1:  # only the last of them can be read, and would be counted twice
            raise DitbenchError(
                f"{shown(self.path)}: {count} members are named {shown(name)}",
                "pack the class folders again, each file once",
            )
        return names

    def read(self, name: str) -> bytes:
        """The content of one member; its declared size and checksum are verified."""
        where = f"{shown(self.path)}: {shown(name)}"
        if self.zip.getinfo(name).file_size > MAX_FILE_BYTES:
            raise DitbenchError(
                f"{where} is too large: {self.zip.getinfo(name).file_size} bytes",
                f"one image may take up to {MAX_FILE_BYTES} bytes",
            )
        try:
            return self.zip.read(name)
        except Exception as error:  # bad checksum, bad stream, password, unknown compression
            reason = shown(str(error) or type(error).__name__)
            raise DitbenchError(
                f"{where} cannot be unpacked: {reason}", "make the zip again"
            ) from error

    def stamps(self, names: Iterable[str]) -> list[tuple[int, ...]]:
        """Size and times of change of the zip: those of its members are what it says of them."""
        del names
        return [_stamp(self.path)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.zip.close()


def _stamp(path: Path) -> tuple[int, ...]:
    """Also the time of the change that no program can set: copying may keep the other one."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _declared_members(path: Path) -> int:
    """What a zip says at its end of how many members it has (APPNOTE 4.3.16), `NO_COUNT` for many.

    `zipfile` does not look at it: of a damaged directory it would give those that it finds.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_RECORD.size - 2**16))
        end = file.read()
    return int(END_RECORD.unpack_from(end, end.rfind(b"PK\5\6"))[0])


def shown(name: object) -> str:
    """A name as a line can show it: whoever made the files chose their names."""
    return one_line(str(name), MAX_SHOWN)


def must_exist(path: Path) -> None:
    """Refuse a path at which there is nothing."""
    try:
        exists = path.exists()
    except (OSError, ValueError):  # a name that is too long, or that the system cannot have
        exists = False
    if not exists:
        raise DitbenchError(f"no such data: {shown(path)}", "check the path given to --data")


def open_files(path: Path) -> FolderFiles | ZipFiles:
    """The files of a folder or of a zip file, whichever lies at `path`."""
    return FolderFiles(path) if path.is_dir() else ZipFiles(path)


def _unreadable(path: Path, kind: str, reason: str) -> DitbenchError:
    return DitbenchError(
        f"{shown(path)} is not a readable {kind} file: {shown(reason)}",
        "pass a folder or a .zip of class folders, or an .npz of images and labels",
    )


def _cannot_read(path: Path, error: OSError) -> DitbenchError:
    return DitbenchError(
        f"cannot read {shown(path)}: {error.strerror or error}", "check its permissions"
    )
