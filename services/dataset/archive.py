"""Reading a zip that nobody vouches for.

Owns every check between bytes on disk and the content of one entry: limits, names, links, encryption, overlaps,
checksums. Knows nothing of pictures or labels. Nothing is ever extracted to a path that the archive names: content is
handed out as bytes.

All refusals are `UserError` with `field="file"` and one of these codes: archive_too_large, not_a_zip, encrypted_archive,
too_many_entries, name_too_long, path_escape, link_entry, duplicate_entry, overlapping_entries,
unsupported_compression, entry_too_large, expanded_too_large, corrupt_archive.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from shared.contract.errors import UserError

CHUNK_BYTES = 256 * 1024
# A central directory may use this much per allowed entry, else it is refused unread: parsed it takes far more memory.
DIRECTORY_BYTES_PER_ENTRY = 384
LOCAL_HEADER_BYTES = 30
MAX_NAME_LENGTH = 1000  # names go into reports

_ENCRYPTION_FLAGS = 0x1 | 0x40 | 0x2000  # traditional, strong, masked directory
_AES = 99
_DRIVE = re.compile(r"^[A-Za-z]:")
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_JUNK_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
# What zipfile and zlib raise for archives that are broken or lie about themselves.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


class ArchiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds, inclusive. Bytes but for `entries`; `expanded_bytes` counts what is really read over an archive's life."""

    upload_bytes: int = 1024**3
    entries: int = 20_000
    expanded_bytes: int = 4 * 1024**3
    entry_bytes: int = 64 * 1024**2


def _refuse(code: str, message: str, *, status: int = 400, **details: object) -> UserError:
    return UserError(code, message, "file", status=status, details=details)


def check_size(size: int, limit: int) -> None:
    """Raises UserError `archive_too_large` (413) for an upload of more than `limit` bytes."""
    if size > limit:
        message = f"The file has {size:,} bytes or more; at most {limit:,} are allowed."
        raise _refuse("archive_too_large", message, status=413, bytes=size, limit=limit)


class Archive:
    """An open zip whose directory has passed every check. Entries are read one at a time within one shared budget of bytes."""

    def __init__(self, zip_file: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], limits: ArchiveLimits) -> None:
        self._zip = zip_file
        self._entries = entries
        self._limits = limits
        self._expanded = 0

    @classmethod
    def open(cls, path: Path, limits: ArchiveLimits) -> Archive:
        """The archive at `path`. Raises UserError for whatever the module's first lines list, bar what shows up on reading."""
        size = path.stat().st_size
        check_size(size, limits.upload_bytes)
        guarded = _GuardedFile(path, limits)
        try:
            zip_file = zipfile.ZipFile(guarded)
            guarded.directory_is_read()
            return cls(zip_file, _checked_entries(zip_file, limits), limits)
        except _BROKEN as error:
            guarded.close()
            raise _refuse("not_a_zip", f"The file is not a readable zip archive: {error}.") from error
        except UserError:
            guarded.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the zip and the file below it."""
        file = self._zip.fp
        self._zip.close()
        if file is not None:
            file.close()

    @property
    def names(self) -> list[str]:
        """Paths of the regular files, sorted, without what operating systems add (`__MACOSX/…`, `.DS_Store`, `Thumbs.db`)."""
        return sorted(self._entries)

    @property
    def expanded_bytes(self) -> int:
        """Bytes that have been unpacked so far."""
        return self._expanded

    def declared_bytes(self, name: str) -> int:
        """The unpacked size that the directory claims. Reading never gives more, it may fail."""
        return self._entries[name].file_size

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of one entry in pieces. Raises UserError where a limit is passed or the content is broken."""
        entry_bytes = 0
        try:
            with self._zip.open(self._entries[name]) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    entry_bytes += len(chunk)
                    self._expanded += len(chunk)
                    self._check_budget(name, entry_bytes)
                    yield chunk
        except _BROKEN as error:
            raise _refuse("corrupt_archive", f"{name} can't be unpacked: {error}.", entry=name) from error

    def read(self, name: str) -> bytes:
        """The whole content of one entry. Raises as `chunks`."""
        return b"".join(self.chunks(name))

    def _check_budget(self, name: str, entry_bytes: int) -> None:
        if entry_bytes > self._limits.entry_bytes:
            limit = self._limits.entry_bytes
            message = f"{name} unpacks to more than {limit:,} bytes, the limit for one file."
            raise _refuse("entry_too_large", message, entry=name, limit=limit)
        if self._expanded > self._limits.expanded_bytes:
            limit = self._limits.expanded_bytes
            message = (
                f"The archive unpacks to more than {limit:,} bytes, the limit for one dataset (reached at {name})."
            )
            raise _refuse("expanded_too_large", message, entry=name, limit=limit)


class _GuardedFile(io.BufferedReader):
    """The archive's file, which refuses to hand out an overlong central directory.

    zipfile reads the whole directory at once and makes an object of each entry before anyone can look at their number, so the
    limit has to sit below it.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        super().__init__(io.FileIO(path))
        self._entries = limits.entries
        # zipfile looks for the end record in the last 64 KiB: that must stay readable.
        self._cap: int | None = max(limits.entries * DIRECTORY_BYTES_PER_ENTRY, 128 * 1024)
        self._size = path.stat().st_size

    def directory_is_read(self) -> None:
        """Lift the guard: from now on entries are read, piece by piece."""
        self._cap = None

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._size - self.tell() if size is None or size < 0 else size
        if self._cap is not None and wanted > self._cap:
            raise _too_many_entries(self._entries)
        return super().read(size)


def _too_many_entries(limit: int) -> UserError:
    return _refuse("too_many_entries", f"The archive holds more than {limit:,} entries, the limit.", limit=limit)


def _checked_entries(zip_file: zipfile.ZipFile, limits: ArchiveLimits) -> dict[str, zipfile.ZipInfo]:
    infos = zip_file.infolist()
    if len(infos) > limits.entries:
        raise _too_many_entries(limits.entries)
    seen: set[str] = set()
    files: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _checked_name(info.orig_filename)
        if info.flag_bits & _ENCRYPTION_FLAGS or info.compress_type == _AES:
            raise _refuse("encrypted_archive", f"{name} is encrypted: upload a zip without a password.", entry=name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refuse(
                "link_entry", f"{name} is a link or a special file; only plain files may be in it.", entry=name
            )
        if name in seen:
            raise _refuse("duplicate_entry", f"{name} is in the archive twice.", entry=name)
        seen.add(name)
        if info.is_dir() or kind == stat.S_IFDIR:
            continue
        if info.compress_type not in _READABLE:
            message = (
                f"{name} is packed by method {info.compress_type}; only stored (0) and deflated (8) entries are read."
            )
            raise _refuse("unsupported_compression", message, entry=name)
        if not _is_junk(name):
            files[name] = info
    _refuse_overlaps(infos, zip_file.start_dir)
    return files


def _checked_name(raw: str) -> str:
    """The entry's path without `.` and empty parts. Raises path_escape for whatever could leave a folder on any system."""
    if len(raw) > MAX_NAME_LENGTH:
        message = (
            f"The entry {raw[:40]!r}… has a name of {len(raw):,} characters; at most {MAX_NAME_LENGTH:,} are allowed."
        )
        raise _refuse("name_too_long", message, limit=MAX_NAME_LENGTH)
    parts = raw.split("/")
    if not raw or raw.startswith("/") or "\\" in raw or "\0" in raw or ".." in parts or _DRIVE.match(raw):
        message = f"The entry {raw!r} has a path that could lead outside the archive."
        raise _refuse("path_escape", message, entry=raw)
    return "/".join(part for part in parts if part not in ("", "."))


def _is_junk(name: str) -> bool:
    folders, _, base = name.rpartition("/")
    return base in _JUNK_NAMES or base.startswith("._") or "__MACOSX" in folders.split("/")


def _refuse_overlaps(infos: list[zipfile.ZipInfo], end_of_data: int) -> None:
    """Entries that share compressed bytes are how a small file becomes an immense one: refuse them before anything is read."""
    spans = sorted((info.header_offset, info.compress_size, info.filename) for info in infos)
    ends = [offset for offset, _, _ in spans[1:]] + [end_of_data]
    for (offset, compressed, name), end in zip(spans, ends, strict=True):
        if offset < 0 or offset + LOCAL_HEADER_BYTES + compressed > end:
            raise _refuse("overlapping_entries", f"{name} shares its bytes with another entry.", entry=name)
