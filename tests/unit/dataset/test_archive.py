"""No archive gets past its limits or out of its folder, whatever it claims."""

from __future__ import annotations

import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from services.dataset.archive import Archive, ArchiveLimits
from shared.contract.errors import UserError
from tests.support.voc import frames, write_zip

LIMITS = ArchiveLimits(upload_bytes=1 << 20, entries=50, expanded_bytes=1 << 20, entry_bytes=1 << 19)


def read_all(path: Path, limits: ArchiveLimits = LIMITS) -> None:
    with Archive.open(path, limits) as archive:
        for name in archive.names:
            archive.read(name)


def refusal(path: Path, limits: ArchiveLimits = LIMITS) -> UserError:
    """The refusal that opening `path` and reading all of it ends in."""
    with pytest.raises(UserError) as caught:
        read_all(path, limits)
    assert caught.value.field == "file"
    return caught.value


def test_reads_what_is_in_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"b/two.txt": "second", "a.txt": "first", "b/": "", "./c//three.txt": "third"})
    with Archive.open(path, LIMITS) as archive:
        assert archive.names == ["a.txt", "b/two.txt", "c/three.txt"]
        assert [archive.read(name) for name in archive.names] == [b"first", b"second", b"third"]
        assert archive.expanded_bytes == 16
        assert archive.declared_bytes("a.txt") == 5


def test_leaves_out_what_operating_systems_add(tmp_path: Path) -> None:
    junk = {"__MACOSX/._a.jpg": "x", "images/._a.jpg": "x", "images/.DS_Store": "x", "Thumbs.db": "x", "a.jpg": "y"}
    with Archive.open(write_zip(tmp_path / "a.zip", junk), LIMITS) as archive:
        assert archive.names == ["a.jpg"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\0" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert refusal(path).code in ("not_a_zip", "too_many_entries")


def test_too_large_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"x" * 101)
    error = refusal(path, ArchiveLimits(upload_bytes=100))
    assert (error.code, error.status) == ("archive_too_large", 413)
    assert "101" in error.message
    assert "100" in error.message


def test_too_many_entries(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.txt": "" for n in range(51)})
    assert refusal(path).code == "too_many_entries"


def test_an_immense_directory_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}" * 40: "" for n in range(4000)}, zipfile.ZIP_STORED)
    assert refusal(path, ArchiveLimits(entries=50)).code == "too_many_entries"


@pytest.mark.parametrize(
    "name", ["../a.txt", "a/../../b.txt", "/etc/passwd", "C:\\a.txt", "c:a.txt", "a\\b.txt", "..", "a/.."]
)
def test_paths_that_could_escape(tmp_path: Path, name: str) -> None:
    assert refusal(write_zip(tmp_path / "a.zip", {name: "x"})).code == "path_escape"


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg#.exe": "x"})
    path.write_bytes(path.read_bytes().replace(b"a.jpg#.exe", b"a.jpg\0.exe"))
    assert refusal(path).code == "path_escape"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert refusal(write_zip(tmp_path / "a.zip", {"x" * 1001: ""})).code == "name_too_long"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert refusal(path).code == "link_entry"


@pytest.mark.parametrize("second", ["a.txt", "./a.txt", "a.txt/"])
def test_the_same_name_twice(tmp_path: Path, second: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "1")
        if second == "a.txt":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(second, "2")
        else:
            archive.writestr(second, "2")
    assert refusal(path).code == "duplicate_entry"


def patched(path: Path, offset: int, value: int) -> Path:
    """Set 16 bits at `offset` of each central directory record."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<H", data, at + offset, value)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted(tmp_path: Path, flag: int) -> None:
    path = patched(write_zip(tmp_path / "a.zip", {"a.txt": "x"}), 8, flag)
    assert refusal(path).code == "encrypted_archive"


@pytest.mark.parametrize(("method", "code"), [(99, "encrypted_archive"), (9, "unsupported_compression")])
def test_other_methods(tmp_path: Path, method: int, code: str) -> None:
    assert refusal(patched(write_zip(tmp_path / "a.zip", {"a.txt": "x"}), 10, method)).code == code


def test_one_entry_too_large(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"zeros": bytes(600_000)})
    error = refusal(path)
    assert error.code == "entry_too_large"
    assert error.details["entry"] == "zeros"


def test_all_entries_together_too_large(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {str(n): bytes(400_000) for n in range(3)})
    assert path.stat().st_size < 5000
    assert refusal(path).code == "expanded_too_large"


def test_entries_that_share_their_bytes(tmp_path: Path) -> None:
    """The trick of small archives that unpack to immense ones: many directory records that point to one body."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(bytes(100_000)) + body.flush()
    checksum = zlib.crc32(bytes(100_000))
    fields = (20, 0, 8, 0, 33, checksum, len(packed), 100_000, 1)
    data = struct.pack("<4s5H3LHH", b"PK\x03\x04", *fields, 0) + b"0" + packed
    directory = b""
    for n in range(10):
        directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0, 0) + str(n).encode()
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 10, 10, len(directory), len(data), 0)
    path = tmp_path / "a.zip"
    path.write_bytes(data + directory + end)
    assert refusal(path, ArchiveLimits()).code == "overlapping_entries"


def test_a_local_header_that_disagrees(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.txt": "content"})
    path.write_bytes(path.read_bytes().replace(b"a.txt", b"b.txt", 1))
    assert refusal(path).code == "corrupt_archive"


def test_a_size_that_lies(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.txt": bytes(1000)})
    assert refusal(patched(path, 24, 10)).code == "corrupt_archive"


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.txt": "content"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    assert refusal(path).code == "corrupt_archive"


def test_random_damage_never_does_more_than_refuse(tmp_path: Path) -> None:
    sound = write_zip(tmp_path / "a.zip", frames(3)).read_bytes()
    path = tmp_path / "b.zip"
    dice = random.Random(7)
    codes = set()
    for _ in range(600):
        data = bytearray(sound)
        for _ in range(dice.choice((1, 1, 2, 8))):
            # Half of the damage goes to the directory at the end, where the interesting lies are told.
            data[dice.randrange(len(data) - 700 * dice.randrange(2) - 1, len(data))] = dice.randrange(256)
        path.write_bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))])
        try:
            read_all(path)
        except UserError as error:
            codes.add(error.code)
    assert {"not_a_zip", "corrupt_archive"} <= codes
