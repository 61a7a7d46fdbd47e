"""Named files in a folder or in a zip, read one at a time; nothing is ever unpacked to disk."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Protocol, Self

from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from pathlib import Path

# Above an uncompressed 4096 x 4096 RGB image; bounds what one member of a zip can unfold to.
MAX_FILE_BYTES = 64 * 2**20


class Files(Protocol):
    """A tree of files under relative names with forward slashes."""

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""

    def read(self, name: str) -> bytes:
        """The content of one file, at most `MAX_FILE_BYTES + 1` bytes of it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class FolderFiles:
    """The files below a folder; links are followed, their names are not changed.

    Raises:
        DitbenchError: from `names` and `read`, when the system refuses; the file is named.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""
        try:
            return [
                entry.relative_to(self.path).as_posix() + ("/" if entry.is_dir() else "")
                for entry in self.path.rglob("*")
            ]
        except OSError as error:
            raise _cannot_read(self.path, error) from error

    def read(self, name: str) -> bytes:
        """The content of one file."""
        try:
            with (self.path / name).open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise _cannot_read(self.path / name, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class ZipFiles:
    """The members of a zip file.

    Raises:
        DitbenchError: not a zip, a name that is absolute or climbs out with `..`, a member that is
            damaged, encrypted, or declares more than `MAX_FILE_BYTES`; the member is named.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except OSError as error:
            raise _cannot_read(path, error) from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DitbenchError(
                f"{path} is not a readable zip file: {error}",
                "pass a folder or a .zip of class folders",
            ) from error

    def names(self) -> list[str]:
        """All names; those of folders end in `/`."""
        names = self.zip.namelist()
        for name in names:
            # Judged as both systems would: the zip may come from either.
            posix, windows = PurePosixPath(name), PureWindowsPath(name)
            if posix.is_absolute() or windows.anchor or ".." in windows.parts:
                raise DitbenchError(
                    f"{self.path}: member {name!r} points outside of the zip",
                    "do not trust this file; pack the class folders again with relative names",
                )
        return names

    def read(self, name: str) -> bytes:
        """The content of one member; its declared size and checksum are verified."""
        if self.zip.getinfo(name).file_size > MAX_FILE_BYTES:
            raise DitbenchError(
                f"{self.path}: {name} is too large: {self.zip.getinfo(name).file_size} bytes",
                f"one image may take up to {MAX_FILE_BYTES} bytes",
            )
        try:
            return self.zip.read(name)
        except Exception as error:  # bad checksum, bad stream, password, unknown compression
            raise DitbenchError(
                f"{self.path}: {name} cannot be unpacked: {error}", "make the zip again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.zip.close()


def _cannot_read(path: Path, error: OSError) -> DitbenchError:
    return DitbenchError(f"cannot read {path}: {error.strerror or error}", "check its permissions")
