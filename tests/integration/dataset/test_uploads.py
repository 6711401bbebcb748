"""Resumable uploads at the real service, by the letter of tus 1.0.0, and their import."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from services.dataset.tus import CHUNK_TYPE
from tests.support.datasets import World, alone
from tests.support.running import Caller, token
from tests.support.waiting import until

TUS = {"Tus-Resumable": "1.0.0"}
Answer = tuple[int, Any, Mapping[str, str]]


@pytest.fixture
async def forgetful(tmp_path: Path, amqp_url: str, mongo_url: str) -> AsyncIterator[World]:
    """Another, which keeps uploads for two seconds."""
    async with alone(tmp_path, amqp_url, mongo_url, UPLOAD_LIFETIME_SECONDS="2") as world:
        yield world


async def ask(
    world: World, method: str, path: str, headers: Mapping[str, str], data: Any = None, caller: Caller | None = None
) -> Answer:
    """A request by the protocol: the status, the JSON answer if any, the headers."""
    known = (caller or world.call)._headers
    url = path if path.startswith("http") else world.service.url + path
    async with world.session.request(method, url, headers={**known, **TUS, **headers}, data=data) as response:
        content = await response.json() if response.content_type == "application/json" else None
        assert response.headers["Tus-Resumable"] == "1.0.0"
        return response.status, content, response.headers


async def begin(world: World, length: int) -> str:
    status, content, headers = await ask(world, "POST", "/api/datasets/uploads", {"Upload-Length": str(length)})
    assert status == 201, content
    return headers["Location"]


async def send(world: World, path: str, offset: int, data: Any, **more: Any) -> Answer:
    return await ask(world, "PATCH", path, {"Upload-Offset": str(offset), "Content-Type": CHUNK_TYPE}, data, **more)


async def offset_of(world: World, path: str) -> int:
    status, _, headers = await ask(world, "HEAD", path, {})
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    return int(headers["Upload-Offset"])


async def imported(world: World, path: str, key: str | None = None, caller: Caller | None = None) -> tuple[int, Any]:
    query = {"name": "Field", "upload": path.rpartition("/")[2]}
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return await (caller or world.call)("POST", world.url("", query), headers=headers, data=b"")


async def test_what_the_server_can(world: World) -> None:
    status, _, headers = await ask(world, "OPTIONS", "/api/datasets/uploads", {"Tus-Resumable": "0.2.2"})
    assert (status, headers["Tus-Version"], headers["Tus-Max-Size"]) == (204, "1.0.0", "900000")
    assert set(headers["Tus-Extension"].split(",")) == {"creation", "termination", "expiration"}


async def test_an_upload_in_pieces_becomes_a_dataset(world: World) -> None:
    data = world.archive()
    metadata = f"filename {base64.b64encode(b'field.zip').decode()},empty"
    wanted = {"Upload-Length": str(len(data)), "Upload-Metadata": metadata}
    status, _, headers = await ask(world, "POST", "/api/datasets/uploads", wanted)
    assert status == 201
    path = headers["Location"]
    begun = parsedate_to_datetime(headers["Upload-Expires"])
    half = len(data) // 2
    status, _, headers = await send(world, path, 0, data[:half])
    assert (status, headers["Upload-Offset"]) == (204, str(half))
    assert parsedate_to_datetime(headers["Upload-Expires"]) >= begun
    status, _, headers = await ask(world, "HEAD", path, {})
    assert (status, headers["Upload-Offset"], headers["Upload-Length"]) == (200, str(half), str(len(data)))
    assert headers["Upload-Metadata"] == metadata

    status, content = await imported(world, path)
    assert (status, content["error"]["code"]) == (409, "upload_incomplete")
    await world.nothing_is_left()
    assert (await send(world, path, half, data[half:]))[0] == 204

    status, content = await imported(world, path, "k")
    assert status == 201, content
    assert content["dataset"]["train_frames"] + content["dataset"]["eval_frames"] == 12
    assert (await ask(world, "HEAD", path, {}))[0] == 404  # it has done its service
    assert await imported(world, path, "k") == (201, content)
    assert (await imported(world, path))[0] == 404
    assert len((await world.call("GET", world.url()))[1]["datasets"]) == 1


async def test_a_broken_connection_loses_nothing_that_had_come(world: World) -> None:
    data = world.archive()
    path = await begin(world, len(data))
    _, writer = await asyncio.open_connection("127.0.0.1", world.service.port)
    writer.write(
        f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(world.team)}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {CHUNK_TYPE}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode()
    )
    writer.write(data[:5000])
    await writer.drain()

    async def is_busy() -> bool:
        return (await send(world, path, 0, b""))[0] == 423

    await until(is_busy)
    await asyncio.sleep(0.2)
    writer.transport.abort()

    async def is_free() -> bool:
        return (await send(world, path, await offset_of(world, path), b""))[0] == 204

    await until(is_free)
    offset = await offset_of(world, path)
    assert 0 < offset <= 5000
    assert (await send(world, path, offset, data[offset:]))[0] == 204
    assert (await imported(world, path))[0] == 201


BAD: list[tuple[str, str, dict[str, str], int, str]] = [
    ("POST", "", {"Upload-Length": "1", "Tus-Resumable": "0.2.2"}, 412, "unsupported_version"),
    ("POST", "", {}, 400, "bad_parameter"),
    ("POST", "", {"Upload-Length": "-1"}, 400, "bad_parameter"),
    ("POST", "", {"Upload-Length": "9" * 5000}, 400, "bad_parameter"),
    ("POST", "", {"Upload-Length": "900001"}, 413, "archive_too_large"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "a ???"}, 400, "bad_parameter"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "bad_parameter"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "a " + "A" * 4096}, 400, "bad_parameter"),
    ("PATCH", "one", {"Upload-Offset": "0", "Content-Type": "application/zip"}, 415, "unsupported_media_type"),
    ("PATCH", "one", {"Content-Type": CHUNK_TYPE}, 400, "bad_parameter"),
    ("PATCH", "one", {"Upload-Offset": "1", "Content-Type": CHUNK_TYPE}, 409, "upload_offset"),
    ("PATCH", "one", {"Upload-Offset": "0", "Content-Type": CHUNK_TYPE}, 413, "upload_too_long"),
    ("PATCH", "none", {"Upload-Offset": "0", "Content-Type": CHUNK_TYPE}, 404, "not_found"),
    ("DELETE", "none", {}, 404, "not_found"),
    ("POST", "one", {"X-HTTP-Method-Override": "PUT"}, 405, "method_not_allowed"),
]


async def test_refusals(world: World) -> None:
    places = {"": "/api/datasets/uploads", "one": await begin(world, 3), "none": f"/api/datasets/uploads/{'0' * 32}"}
    for method, place, headers, status, code in BAD:
        got, content, answered = await ask(world, method, places[place], headers, b"1234")
        assert (got, content["error"]["code"]) == (status, code), (method, headers)
        assert ("Tus-Version" in answered) == (status == 412)
    assert await offset_of(world, places["one"]) == 0
    status, content = await world.call("POST", world.url("", {"name": "a", "upload": "../x"}), data=b"")
    assert (status, content["error"]["field"]) == (400, "upload")


async def test_a_repeated_beginning(world: World) -> None:
    wanted = {"Upload-Length": "4", "Idempotency-Key": "k"}
    first, again = [await ask(world, "POST", "/api/datasets/uploads", wanted) for _ in range(2)]
    assert (first[0], again[0], first[2]["Location"]) == (201, 201, again[2]["Location"])
    status, content, _ = await ask(world, "POST", "/api/datasets/uploads", {**wanted, "Upload-Length": "5"})
    assert (status, content["error"]["code"]) == (422, "idempotency_key_reused")
    status, _, other = await ask(world, "POST", "/api/datasets/uploads", wanted, caller=world.stranger)
    assert (status, other["Location"] != first[2]["Location"]) == (201, True)


async def test_other_methods_by_override(world: World) -> None:
    path = await begin(world, 4)
    wanted = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": CHUNK_TYPE}
    status, _, headers = await ask(world, "POST", path, wanted, b"1234")
    assert (status, headers["Upload-Offset"]) == (204, "4")
    assert (await ask(world, "POST", path, {"X-HTTP-Method-Override": "DELETE"}))[0] == 204
    assert (await ask(world, "HEAD", path, {}))[0] == 404


async def test_teams_and_roles_and_how_many(world: World) -> None:
    one, two = await begin(world, 4), await begin(world, 4)
    status, content, _ = await ask(world, "POST", "/api/datasets/uploads", {"Upload-Length": "1"})
    assert (status, content["error"]["code"]) == (409, "too_many_uploads")
    for method in ("HEAD", "DELETE"):
        assert (await ask(world, method, one, {}, caller=world.stranger))[0] == 404
        assert (await ask(world, method, one, {}, caller=world.viewer))[0] == 403
    assert (await send(world, one, 0, b"1234", caller=world.stranger))[0] == 404
    assert (await imported(world, one, caller=world.stranger))[0] == 404
    assert (await send(world, one, 0, b"1234"))[0] == 204
    assert (await ask(world, "DELETE", two, {}))[0] == 204
    assert (await ask(world, "HEAD", two, {}))[0] == 404
    await begin(world, 4)


async def test_what_is_no_dataset_is_refused_and_can_be_given_up(world: World) -> None:
    path = await begin(world, 4)
    assert (await send(world, path, 0, b"1234"))[0] == 204
    status, content = await imported(world, path)
    assert (status, content["error"]["code"]) == (400, "not_a_zip")
    await world.nothing_is_left()
    assert (await ask(world, "DELETE", path, {}))[0] == 204


async def test_an_upload_outlives_the_process(own: World) -> None:
    data = own.archive()
    path = await begin(own, len(data))
    assert (await send(own, path, 0, data[:1000]))[0] == 204
    own.service.kill()
    await own.service.start()
    assert await offset_of(own, path) == 1000
    assert (await send(own, path, 1000, data[1000:]))[0] == 204
    assert (await imported(own, path))[0] == 201


async def test_an_upload_that_nobody_goes_on_with_expires(forgetful: World) -> None:
    left = await begin(forgetful, 10)

    async def is_gone() -> bool:
        return (await ask(forgetful, "HEAD", left, {}))[0] == 404

    await until(is_gone)
    assert list((forgetful.imports / "uploads").iterdir()) == []
