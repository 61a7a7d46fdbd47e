"""Image files for tests: encoded in memory, written as a folder or as a zip."""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image


def encode(pixels, kind="PNG", mode=None, **options):
    """An image file; pixels are (H, W) or (H, W, 3), converted to `mode`."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def grey(value, height=4, width=6):
    """A grey PNG of one value."""
    return encode(np.full((height, width), value, np.uint8))


def forged_png(width, height, colour=0, body=b"\0" * 1_000):
    """A PNG whose header declares a size that its body does not have."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def write_folder(root, files):
    """Write files below a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def packed(files, compression=zipfile.ZIP_DEFLATED):
    """The bytes of a zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_zip(path, files):
    """Write files as a zip."""
    path.write_bytes(packed(files))
    return path
