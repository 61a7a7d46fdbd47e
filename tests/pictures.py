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


def nasty(root, count=120):
    """A folder as people have them: `train/` and `val/`, and every kind of picture and file.

    `count` pictures to train on in the classes `class 2` and `class 10`; one cannot be read.
    """
    draws = np.random.default_rng(0)

    def pixels(*channels):
        height, width = draws.integers(30, 301, 2)
        return draws.integers(0, 256, (height, width, *channels), np.uint8)

    turned = Image.Exif()
    turned[0x0112] = 6  # shown after a quarter turn to the right
    rgb, grey_ = pixels(3), pixels()
    frames = [Image.fromarray(grey_), Image.fromarray(255 - grey_)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    odd = {
        "rgba.png": encode(pixels(4)),
        "exif.jpg": encode(rgb, "JPEG", exif=turned),
        "grey.png": encode(grey_),
        "cmyk.jpg": encode(rgb, "JPEG", "CMYK"),
        "palette.png": encode(rgb, mode="P"),
        "la.png": encode(pixels(4), mode="LA"),
        "16.png": encode(pixels().astype(np.uint16) * 257),
        "1.png": encode(rgb, mode="1"),
        "moving.gif": moving.getvalue(),
        "small.png": encode(pixels(3)[:1, :1]),
        "a\nb.png": encode(rgb),
        "broken.png": encode(rgb)[:-200],
        "caption.txt": b"a picture",
    }
    plain = {f"{n:03}.png": encode(pixels(3)) for n in range(count - len(odd) + 2)}
    files = {f"train/class 2/{name}": data for name, data in odd.items()}
    files |= {f"train/class 10/{name}": data for name, data in plain.items()}
    files |= {f"val/class {2 + 8 * (n % 2)}/{n}.png": encode(pixels(3)) for n in range(8)}
    return write_folder(root, files | {"README.md": b"pictures"})
