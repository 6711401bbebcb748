"""From the bytes of an untrusted picture to the JPEG that is trained on.

Owns the allow-list of formats, the pixel limit, orientation, colours, scaling. Knows nothing of archives, labels or shards.

A picture is stored once as an RGB JPEG with its longest side at most `longest_side` pixels: decoding full photos at each
step would cost more than training on them. Metadata such as the place where a photo was taken is not kept. Transparent
parts become white.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable

import msgspec
import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from shared.contract.errors import UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
# Pictures too, but reported rather than read: each decoder more is one more way in.
OTHER_EXTENSIONS = frozenset(
    {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".svg", ".ppm", ".pgm", ".webp"}
)
# A progressive JPEG has about ten scans; each one more makes the decoder go over the whole picture again.
MAX_JPEG_SCANS = 128
_THUMB_QUALITY = 80

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = frozenset({5, 6, 7, 8})
# The classes are made directly: Image.open would try 40 formats and warn about sizes through a process-wide setting.
_OPENERS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"BM", BmpImageFile),
)
# What Pillow raises for files that are not what they claim to be.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError,
    NotImplementedError, struct.error, zlib.error,
)  # fmt: skip


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as it is stored: `jpeg`, `width` x `height` pixels.

    `source_width` x `source_height` is the picture that boxes refer to: as uploaded, upright where `rotated` says so.
    `digest` is the SHA-256 of the uploaded bytes; `dhash` 64 bits of brightness differences on a 9 x 8 grid.
    """

    jpeg: bytes
    width: int
    height: int
    source_width: int
    source_height: int
    rotated: bool
    digest: str
    dhash: int


class PictureLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`pixels` is the most that a header may announce, `longest_side` and `quality` (1..95) how it is stored."""

    pixels: int = 50_000_000
    longest_side: int = 640
    quality: int = 92


def load(data: bytes, name: str, limits: PictureLimits, labelled_size: tuple[int, int] | None = None) -> Picture:
    """Decode the whole picture, turn it upright, scale it. `labelled_size` is the (width, height) that its annotation states.

    Raises UserError: image_too_large from the header alone, image_undecodable for all but a whole JPEG, PNG or BMP.
    """
    try:
        with _open(data) as image:
            original = image.size
            _check_pixels(original, name, limits.pixels)
            orientation = choose_orientation(_stated_orientation(image), original, labelled_size)
            stored = _fit(original, limits.longest_side)
            image.draft("RGB", (2 * stored[0], 2 * stored[1]))  # JPEG: decode at a fraction where that is enough
            rgb = _rgb(image).resize(stored, Image.Resampling.LANCZOS, reducing_gap=2.0)
    except _BROKEN as error:
        message = f"{name} can't be decoded as a JPEG, PNG or BMP picture: {error}."
        raise UserError("image_undecodable", message, "file", details={"entry": name}) from error
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    rgb.info = {}  # Pillow would write comments and colour profiles again
    out = io.BytesIO()
    rgb.save(out, "JPEG", quality=limits.quality)
    source = original[::-1] if orientation in _SWAPS_SIDES else original
    return Picture(
        jpeg=out.getvalue(),
        width=rgb.width,
        height=rgb.height,
        source_width=source[0],
        source_height=source[1],
        rotated=orientation in _TRANSPOSE,
        digest=hashlib.sha256(data).hexdigest(),
        dhash=_dhash(rgb),
    )


def thumbnail(jpeg: bytes, longest_side: int) -> bytes | None:
    """A stored picture with its longest side at `longest_side` pixels; None where it is no longer than that, or can't be
    read."""
    try:
        with JpegImageFile(io.BytesIO(jpeg)) as image:
            size = _fit(image.size, longest_side)
            if size == image.size:
                return None
            image.draft("RGB", size)  # decodes a quarter of the pixels where that is enough
            small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    except _BROKEN:  # of a dataset that something else wrote: its other pictures can be shown all the same
        return None
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_THUMB_QUALITY)
    return out.getvalue()


def choose_orientation(stated: int, size: tuple[int, int], labelled_size: tuple[int, int] | None) -> int:
    """The EXIF orientation (1..8, 1 is none) to apply, so that boxes fall on what they were drawn around.

    Whoever drew them saw the picture upright in nearly every tool, so the stated orientation is applied. The exception can be
    told: a quarter turn swaps the sides, and an annotation that states the unturned sides was made on the raw pixels.
    """
    if stated in _SWAPS_SIDES and labelled_size == size and size[0] != size[1]:
        return 1
    return stated


def _open(data: bytes) -> ImageFile:
    for magic, opener in _OPENERS:
        if data.startswith(magic):
            if opener is JpegImageFile and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
                raise ValueError(f"it has more than {MAX_JPEG_SCANS} scans")
            return opener(io.BytesIO(data))
    raise ValueError("it begins like none of them")


def _check_pixels(size: tuple[int, int], name: str, limit: int) -> None:
    width, height = size
    if width * height > limit:
        message = f"{name} has {width} x {height} = {width * height:,} pixels; at most {limit:,} are allowed."
        details = {"entry": name, "pixels": width * height, "limit": limit}
        raise UserError("image_too_large", message, "file", details=details)


def _stated_orientation(image: ImageFile) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:  # a broken EXIF block in a sound picture
        return 1
    return value if value in _TRANSPOSE else 1


def _fit(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    factor = min(1.0, longest_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: palettes, greys of 1 to 16 bits, CMYK, transparency."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        levels = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def _dhash(rgb: Image.Image) -> int:
    grid = np.asarray(rgb.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(grid[:, 1:] > grid[:, :-1]).tobytes(), "big")
