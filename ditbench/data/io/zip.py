"""The members of a zip file, read one at a time; nothing is unpacked to disk."""

from __future__ import annotations

import struct
import zipfile
from collections import Counter
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from ditbench.data.io.files import MAX_FILE_BYTES, Files, cannot_read, reason, shown
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from pathlib import Path

# The end record of a zip (APPNOTE 4.3.16); only its number of members is read.
END_RECORD = struct.Struct("<10xH10x")
UNKNOWN = 2**16 - 1  # the number does not fit into 16 bits


class ZipFiles(Files):
    """The members of a zip file.

    `kind` is what an error calls it.

    Raises:
        DitbenchError: not a zip; a name that is absolute or contains `..`; two members with one
            name; a member that is damaged, encrypted, or declares more than `MAX_FILE_BYTES`.
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
            path = PureWindowsPath(name)  # which has the separators of both systems
            if path.anchor or ".." in path.parts:
                raise DitbenchError(
                    f"{shown(self.path)}: member {shown(repr(name))} points outside of the zip",
                    "do not trust this file; pack the class folders again with relative names",
                )
        for name, count in Counter(names).most_common(1):
            if count > 1:  # only the last of them can be read
                raise DitbenchError(
                    f"{shown(self.path)}: {count} members are named {shown(name)}",
                    "pack the class folders again, each file once",
                )
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
    return DitbenchError(
        f"{shown(path)} is not a readable {kind} file: {shown(reason)}",
        "pass a folder or a .zip of class folders, or an .npz of images and labels",
    )
