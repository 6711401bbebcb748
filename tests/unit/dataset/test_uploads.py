"""Uploads on disk: what has come stays, one request at a time, each team its own, nothing for ever."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.dataset.uploads import Progress, Uploads
from shared.contract.errors import NotFound, UserError

LIFETIME = timedelta(hours=1)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", lifetime=LIFETIME, max_bytes=1000, per_team=2)


def add(uploads: Uploads, upload_id: str, offset: int, data: bytes, team: str = "red") -> None:
    with uploads.appending(team, upload_id, offset) as file:
        file.write(data)


def create(uploads: Uploads, team: str, length: int, metadata: str) -> Progress:
    return uploads.create(team, uuid.uuid4().hex, length, metadata)


def refused(code: str, status: int) -> pytest.RaisesExc[UserError]:
    return pytest.RaisesExc(UserError, check=lambda error: (error.code, error.status) == (code, status))


def test_piece_by_piece(uploads: Uploads) -> None:
    begun = create(uploads, "red", 10, "filename YQ==")
    assert (begun.offset, begun.about.length, begun.about.metadata) == (0, 10, "filename YQ==")
    one = begun.about.id
    add(uploads, one, 0, b"01234")
    with refused("upload_incomplete", 409):
        next(uploads.pieces("red", one))
    for wrong in (0, 4, 6):
        with refused("upload_offset", 409):
            add(uploads, one, wrong, b"x")
    add(uploads, one, 5, b"56789")
    assert uploads.find("red", one).offset == 10
    assert b"".join(uploads.pieces("red", one)) == b"0123456789"
    uploads.remove("red", one)
    with pytest.raises(NotFound):
        uploads.find("red", one)


def test_it_outlives_its_process(uploads: Uploads, tmp_path: Path) -> None:
    one = create(uploads, "red", 10, "").about.id
    add(uploads, one, 0, b"01234")
    again = Uploads(tmp_path / "uploads", lifetime=LIFETIME, max_bytes=1000, per_team=2)
    assert again.find("red", one).offset == 5


def test_begun_twice_is_begun_once(uploads: Uploads) -> None:
    begun = uploads.create("red", "a" * 32, 10, "")
    add(uploads, begun.about.id, 0, b"01234")
    again = uploads.create("red", "a" * 32, 10, "")
    assert (again.about, again.offset) == (begun.about, 5)
    with refused("idempotency_key_reused", 422):
        uploads.create("red", "a" * 32, 11, "")


def test_each_team_sees_its_own(uploads: Uploads) -> None:
    one = create(uploads, "red", 10, "").about.id
    for act in (
        lambda: uploads.find("blue", one),
        lambda: add(uploads, one, 0, b"x", "blue"),
        lambda: next(uploads.pieces("blue", one)),
        lambda: uploads.remove("blue", one),
        lambda: uploads.find("red", "0" * 32),
    ):
        with pytest.raises(NotFound):
            act()
    assert uploads.find("red", one).offset == 0


def test_limits(uploads: Uploads) -> None:
    with refused("archive_too_large", 413):
        create(uploads, "red", 1001, "")
    create(uploads, "red", 1000, "")
    one = create(uploads, "red", 0, "").about.id
    with refused("too_many_uploads", 409):
        create(uploads, "red", 1, "")
    create(uploads, "blue", 1, "")
    uploads.remove("red", one)
    create(uploads, "red", 1, "")


def test_one_request_at_a_time(uploads: Uploads) -> None:
    one = create(uploads, "red", 10, "").about.id
    with uploads.appending("red", one, 0):
        with refused("upload_busy", 423):
            add(uploads, one, 0, b"x")
        with refused("upload_busy", 423):
            uploads.remove("red", one)
        assert uploads.clean(datetime.now(UTC) + timedelta(days=1)) == []
    add(uploads, one, 0, b"x")


def test_removed_before_it_could_be_locked(uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = create(uploads, "red", 10, "").about.id
    find = uploads.find

    def found_and_gone(team: str, upload_id: str) -> object:
        progress = find(team, upload_id)
        for path in (tmp_path / "uploads").iterdir():
            path.unlink()
        return progress

    monkeypatch.setattr(uploads, "find", found_and_gone)
    with pytest.raises(NotFound):
        uploads.remove("red", one)


def test_what_gets_no_more_bytes_expires(uploads: Uploads, tmp_path: Path) -> None:
    old, new = (create(uploads, "red", 10, "").about.id for _ in range(2))
    half_made = tmp_path / "uploads" / f"{'0' * 32}.part"  # its process died before it said whose it is
    half_made.touch()
    now = datetime.now(UTC)
    long_ago = (now - LIFETIME - timedelta(seconds=1)).timestamp()
    for path in (half_made, tmp_path / "uploads" / f"{old}.part"):
        os.utime(path, (long_ago, long_ago))
    assert uploads.find("red", old).expires < now < uploads.find("red", new).expires
    assert sorted(uploads.clean(now)) == sorted(["0" * 32, old])
    with pytest.raises(NotFound):
        uploads.find("red", old)
    assert uploads.find("red", new).offset == 0
    assert {path.stem for path in (tmp_path / "uploads").iterdir()} == {new}
