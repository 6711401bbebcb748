"""Untrusted pictures become small RGB JPEGs or a refusal."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.dataset.pictures import MAX_JPEG_SCANS, Picture, PictureLimits, choose_orientation, load, thumbnail
from shared.contract.errors import UserError
from tests.support.voc import picture

# How each EXIF orientation is taken back.
UNDO: dict[int, Callable[[Any], Any]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
}
LIMITS = PictureLimits(pixels=1_000_000, longest_side=640)


def pixels(stored: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(stored.jpeg)) as image:
        assert image.format == "JPEG"
        assert image.mode == "RGB"
        assert image.size == (stored.width, stored.height)
        return np.asarray(image).astype(int)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def refusal(data: bytes) -> UserError:
    with pytest.raises(UserError) as caught:
        load(data, "deep/a.jpg", LIMITS)
    assert "deep/a.jpg" in caught.value.message
    return caught.value


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_formats(kind: str) -> None:
    stored = load(picture(1, kind=kind), "a", LIMITS)
    with Image.open(io.BytesIO(picture(1, kind="PNG"))) as image:
        assert np.abs(pixels(stored) - np.asarray(image).astype(int)).mean() < 6


@pytest.mark.parametrize(
    ("mode", "kind", "colour", "expected"),
    [
        ("L", "PNG", 90, (90, 90, 90)),
        ("1", "PNG", 1, (255, 255, 255)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("RGBA", "PNG", (200, 40, 40, 255), (200, 40, 40)),
        ("RGBA", "PNG", (200, 40, 40, 0), (255, 255, 255)),
        ("LA", "PNG", (60, 255), (60, 60, 60)),
        ("I;16", "PNG", 0x8000, (128, 128, 128)),
    ],
)
def test_colours(mode: str, kind: str, colour: object, expected: tuple[int, int, int]) -> None:
    image = Image.new(mode, (40, 30), colour)  # type: ignore[arg-type]
    stored = load(encoded(image, kind), "a", LIMITS)
    assert np.abs(pixels(stored) - np.array(expected)).max() <= 6


def test_a_palette_with_transparency() -> None:
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, 10, 200, 10])
    opaque = load(encoded(image, "PNG"), "a", LIMITS)
    clear = load(encoded(image, "PNG", transparency=b"\xff\x00"), "a", LIMITS)
    assert np.abs(pixels(opaque) - np.array([10, 200, 10])).max() <= 6
    assert pixels(clear).min() >= 250


@pytest.mark.parametrize(
    ("size", "stored_size"),
    [((1280, 720), (640, 360)), ((300, 900), (213, 640)), ((640, 640), (640, 640)), ((9, 4), (9, 4))],
)
def test_the_longest_side_is_limited_and_nothing_is_enlarged(
    size: tuple[int, int], stored_size: tuple[int, int]
) -> None:
    stored = load(picture(2, size), "a", LIMITS)
    assert (stored.width, stored.height) == stored_size
    assert (stored.source_width, stored.source_height) == size


def test_an_extreme_shape_keeps_a_pixel() -> None:
    assert load(picture(2, (2000, 1), "PNG"), "a", LIMITS).height == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_upright(orientation: int) -> None:
    image = Image.open(io.BytesIO(picture(3, (64, 48), "PNG")))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = load(encoded(image, "JPEG", exif=exif, quality=95), "a", LIMITS)
    turned = {1: (64, 48), 2: (64, 48), 3: (64, 48), 4: (64, 48)}.get(orientation, (48, 64))
    assert (stored.source_width, stored.source_height) == (stored.width, stored.height) == turned
    assert stored.rotated == (orientation != 1)
    back = UNDO.get(orientation, lambda a: a)
    assert np.abs(back(pixels(stored)) - np.asarray(image).astype(int)).mean() < 6


def test_which_way_up_the_boxes_were_drawn() -> None:
    assert choose_orientation(6, (64, 48), None) == 6
    assert choose_orientation(6, (64, 48), (48, 64)) == 6
    assert choose_orientation(6, (64, 48), (64, 48)) == 1  # drawn on the raw pixels
    assert choose_orientation(3, (64, 48), (64, 48)) == 3  # can't be told: upright, as most tools show it
    assert choose_orientation(6, (64, 64), (64, 64)) == 6


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\xff"]
)
@pytest.mark.filterwarnings("ignore:.*EXIF.*")
def test_a_broken_exif_block_is_not_the_pictures_fault(exif: bytes) -> None:
    plain = picture(4)
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    assert not load(data, "a", LIMITS).rotated


def test_metadata_is_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "the camera of Jane Doe"
    image = Image.new("RGB", (40, 30))
    data = encoded(image, "JPEG", exif=exif, comment=b"Jane's home")
    assert b"Jane" in data
    assert b"Jane" not in load(data, "a", LIMITS).jpeg


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros that is small on disk whatever its size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pack = zlib.compressobj(9)
    body = b"".join(pack.compress(bytes(3 * width + 1)) for _ in range(min(height, 200))) + pack.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1001, 1000), (13_300, 13_300), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_by_the_header_alone(size: tuple[int, int]) -> None:
    error = refusal(
        png_of(*size) if size[0] < 10**6 else png_of(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", *size))
    )
    assert error.code in ("image_too_large", "image_undecodable")
    if size[0] < 10**6:
        assert error.code == "image_too_large"
        assert "1,000,000" in error.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_truncated_picture(kind: str) -> None:
    data = picture(5, (200, 150), kind)
    assert refusal(data[: len(data) // 2]).code == "image_undecodable"


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(100), b"\xff\xd8\xff", b"BM", b"\x89PNG\r\n\x1a\n"])
def test_no_picture(data: bytes) -> None:
    assert refusal(data).code == "image_undecodable"


def test_a_jpeg_of_endless_scans() -> None:
    data = picture(6, progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert refusal(data[:-2] + scan * MAX_JPEG_SCANS + data[-2:]).code == "image_undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_does_more_than_refuse(kind: str) -> None:
    sound, dice = picture(7, kind=kind), random.Random(7)
    outcomes = set()
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(dice.choice((1, 2, 10))):
            data[dice.randrange(dice.choice((40, len(data))))] = dice.randrange(256)
        try:
            load(bytes(data), "a", LIMITS)
            outcomes.add("read")
        except UserError as error:
            outcomes.add(error.code)
    assert "image_undecodable" in outcomes


def test_neighbouring_frames_look_alike() -> None:
    image = Image.open(io.BytesIO(picture(8, (320, 240), "PNG")))
    moved = load(encoded(image.transform(image.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, 2)), "JPEG"), "a", LIMITS)
    first, other = load(encoded(image, "JPEG"), "a", LIMITS), load(picture(9, (320, 240)), "a", LIMITS)
    assert (first.dhash ^ moved.dhash).bit_count() <= 8
    assert (first.dhash ^ other.dhash).bit_count() > 16


@pytest.mark.parametrize(
    ("size", "thumb"),
    [((640, 480), (240, 180)), ((480, 640), (180, 240)), ((640, 2), (240, 1)), ((241, 241), (240, 240))],
)
def test_thumbnails(size: tuple[int, int], thumb: tuple[int, int]) -> None:
    small = thumbnail(picture(1, size), 240)
    assert small is not None
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", thumb)


def test_no_thumbnail_of_what_is_small_or_no_picture() -> None:
    assert thumbnail(picture(1, (240, 200)), 240) is None
    assert thumbnail(b"no picture", 240) is None
    assert thumbnail(picture(1, (640, 480))[:200], 240) is None
