"""The dataset service as a process, on real RabbitMQ, the store and an artifact folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from shared.contract.events import DatasetCreated, DatasetDeleted
from shared.contract.views import DatasetView
from tests.support.datasets import World
from tests.support.running import Caller, Service, token
from tests.support.voc import annotation, frames, picture
from tests.support.waiting import until


async def test_the_life_of_a_dataset(world: World) -> None:
    files = frames(12) | {"lonely.jpg": picture(50), "empty.jpg": picture(51), "empty.xml": annotation("empty.jpg")}
    status, content = await world.add(
        world.archive(files), query={"name": " Home  field ", "eval_percent": 25, "seed": 3}
    )
    assert status == 201, content
    dataset, report = content["dataset"], content["report"]
    assert (dataset["name"], dataset["team"]) == ("Home field", world.team)
    assert (dataset["train_frames"], dataset["eval_frames"]) == (10, 3)
    assert dataset["train_negatives"] + dataset["eval_negatives"] == 1
    assert [label["name"] for label in dataset["labels"]] == ["ball", "cube"]
    assert dataset["prefix"] == f"datasets/{dataset['id']}"
    assert report["read"] == {"pictures": 13}
    assert report["skipped"] == [
        {"file": "lonely.jpg", "reason": "no XML describes the picture", "code": "no_annotation"}
    ]
    assert (report["skipped_total"], dataset["warnings"]) == (1, report["warnings"])
    assert [finding["code"] for finding in dataset["findings"]] == ["few_boxes", "few_eval_pictures"]

    published = world.artifacts.manifest(dataset["prefix"])
    assert published.file("label_map.pbtxt") is not None
    assert published.file("report.json") is not None
    assert published.meta["seed"] == 3
    assert published.meta["train"] == {
        "frames": 10,
        "negatives": published.meta["train"]["negatives"],
        "boxes": 10 - dataset["train_negatives"],
    }
    folder = world.artifacts.fetch(dataset["prefix"], world.folder / "cache")
    assert len(list(folder.glob("train-*-of-*.tfrecord"))) == 1
    assert len(list(folder.glob("eval-*-of-*.tfrecord"))) == 1

    assert await world.call("GET", world.url()) == (200, {"datasets": [dataset], "used_by": {}})
    assert await world.viewer("GET", world.url(f"/{dataset['id']}")) == (
        200, {"dataset": dataset, "report": report, "used_by": []},
    )  # fmt: skip
    assert world.uploads() == []

    status, _ = await world.call("DELETE", world.url(f"/{dataset['id']}"))
    assert status == 204
    assert (await world.call("GET", world.url(f"/{dataset['id']}")))[0] == 404
    assert (await world.call("DELETE", world.url(f"/{dataset['id']}")))[0] == 404

    async def purged() -> bool:
        return world.artifacts.find(dataset["prefix"]) is None

    await until(purged)

    async def told() -> bool:
        return len(world.facts) >= 2

    await until(told)
    created, deleted = world.facts
    assert isinstance(created.body, DatasetCreated)
    assert created.body.dataset == msgspec.convert(dataset, DatasetView)
    assert isinstance(deleted.body, DatasetDeleted)
    assert (deleted.body.dataset_id, deleted.team, deleted.source) == (dataset["id"], world.team, "dataset")


REFUSED: list[tuple[bytes | dict[str, bytes | str], str, int]] = [
    (b"no zip at all", "not_a_zip", 400),
    (b"", "not_a_zip", 400),
    (bytes(900_001), "archive_too_large", 413),
    ({"../a.jpg": b""}, "path_escape", 400),
    ({"a.jpg": b"x", "a.xml": annotation("a.jpg")}, "image_undecodable", 400),
    ({"a.jpg": picture(1), "a.xml": annotation("a.jpg", prolog="<!DOCTYPE a>")}, "xml_dtd_forbidden", 400),
    ({"a.jpg": picture(1), "a.xml": annotation("a.jpg")}, "no_labelled_frame", 400),
]


async def test_refusals_leave_nothing_behind(world: World) -> None:
    for data, code, status in REFUSED:
        got, content = await world.add(data if isinstance(data, bytes) else world.archive(data))
        assert (got, content["error"]["code"], content["error"]["field"]) == (status, code, "file")
        await world.nothing_is_left()
    assert world.facts == []


async def test_an_upload_that_grows_beyond_the_limit(world: World) -> None:
    """Without a Content-Length the limit is found while counting."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    headers = {"Content-Type": "application/zip"}
    status, content = await world.call("POST", world.url("", {"name": "a"}), data=endless(), headers=headers)
    assert (status, content["error"]["code"]) == (413, "archive_too_large")
    await world.nothing_is_left()


BAD: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 61}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"eval_percent": 4}, "eval_percent"),
    ({"eval_percent": "many"}, "eval_percent"),
    ({"seed": -1}, "seed"),
    ({"unlabelled": "maybe"}, "unlabelled"),
]


async def test_bad_parameters(world: World) -> None:
    for query, field in BAD:
        status, content = await world.add(query=query)
        assert (status, content["error"]["field"]) == (400, field)
    await world.nothing_is_left()


async def test_another_kind_of_body(world: World) -> None:
    status, content = await world.call("POST", world.url("", {"name": "a"}), {"a": 1})
    assert (status, content["error"]["code"]) == (415, "unsupported_media_type")


async def test_a_repeated_request_makes_one_dataset(world: World) -> None:
    first, second = await asyncio.gather(world.add(key="k"), world.add(key="k"))
    assert sorted([first[0], second[0]]) in ([201, 201], [201, 409])
    status, again = await world.add(key="k")
    assert status == 201
    assert again == max(first, second, key=lambda answer: answer[0] == 201)[1]
    assert len((await world.call("GET", world.url()))[1]["datasets"]) == 1
    status, content = await world.add(key="k", query={"name": "Other"})
    assert (status, content["error"]["code"]) == (422, "idempotency_key_reused")
    status, other = await world.stranger(
        "POST", world.url("", {"name": "Field"}), data=world.archive(), headers={"Idempotency-Key": "k"}
    )
    assert status == 201
    assert other["dataset"]["id"] != again["dataset"]["id"]
    await world.call("DELETE", world.url(f"/{again['dataset']['id']}"))
    status, content = await world.add(key="k")
    assert (status, content["error"]["code"]) == (410, "dataset_deleted")


async def test_a_team_may_have_so_many(world: World) -> None:
    answers = await asyncio.gather(*(world.add(query={"name": f"n{n}"}) for n in range(6)))
    assert sorted(status for status, _ in answers) == [201] * 3 + [409] * 3
    refused = next(content for status, content in answers if status == 409)
    assert refused["error"]["code"] == "too_many_datasets"
    assert "3" in refused["error"]["message"]
    listed = (await world.call("GET", world.url()))[1]["datasets"]
    assert len(listed) == 3
    assert (await world.stranger("GET", world.url()))[1]["datasets"] == []
    await world.call("DELETE", world.url(f"/{listed[0]['id']}"))
    assert (await world.add())[0] == 201


async def test_claimed_datasets_cant_be_deleted(world: World) -> None:
    one, two = await world.added(name="One"), await world.added(name="Two")
    status, content = await world.claim("job1", two, one, description="Robot eyes")
    assert status == 200
    assert [dataset["id"] for dataset in content["datasets"]] == [two, one]
    assert (await world.claim("job1", two, one))[0] == 200  # again is no error
    await world.claim("job2", one, description="Second try")
    status, content = await world.call("DELETE", world.url(f"/{one}"))
    error = content["error"]
    assert (status, error["code"]) == (409, "dataset_in_use")
    assert "“Robot eyes”" in error["message"]
    assert "“Second try”" in error["message"]
    assert [model["job_id"] for model in error["details"]["models"]] == ["job1", "job2"]
    used_by = (await world.call("GET", world.url(f"/{one}")))[1]["used_by"]
    assert [(use["job_id"], use["description"]) for use in used_by] == [("job1", "Robot eyes"), ("job2", "Second try")]
    listed = (await world.call("GET", world.url()))[1]
    assert listed["used_by"][one] == used_by
    assert [use["job_id"] for use in listed["used_by"][two]] == ["job1"]

    internal = f"{world.service.url}/api/internal/claims"
    status, content = await world.scheduler("GET", f"{internal}?older_than_seconds=0")
    assert [claim["job_id"] for claim in content["claims"]] == ["job1", "job2"]
    assert (await world.scheduler("GET", f"{internal}?older_than_seconds=3600"))[1] == {"claims": []}
    for job_id in ("job1", "job2", "job2"):
        await world.release(job_id)
    assert (await world.call("DELETE", world.url(f"/{one}")))[0] == 204


async def test_all_is_claimed_or_nothing(world: World) -> None:
    one = await world.added()
    await world.claim("earlier", one)
    status, content = await world.claim("job", one, "nowhere")
    assert (status, content["error"]["code"]) == (404, "not_found")
    claims = (await world.scheduler("GET", f"{world.service.url}/api/internal/claims"))[1]["claims"]
    assert [claim["job_id"] for claim in claims] == ["earlier"]
    assert (await world.claim("job", one, team="others"))[0] == 404


async def test_claiming_and_deleting_at_once(world: World) -> None:
    """Whichever comes first, a claimed dataset exists."""
    for number in range(10):
        dataset_id = await world.added()
        (claimed, _), (deleted, _) = await asyncio.gather(
            world.claim(f"job{number}", dataset_id), world.call("DELETE", world.url(f"/{dataset_id}"))
        )
        assert (claimed, deleted) in ((200, 409), (404, 204))
        await world.release(f"job{number}")
        if deleted == 409:
            assert (await world.call("DELETE", world.url(f"/{dataset_id}")))[0] == 204


async def test_which_labels_differ(world: World) -> None:
    one = await world.added(("ball", "red cube"), name="One")
    two = await world.added(("Ball", "red cube"), name="Two")
    three = await world.added(("ball", "red cub", "duck"), name="Three")
    check = world.url("/compatibility")
    status, content = await world.viewer("POST", check, {"dataset_ids": [one, two, three]})
    assert status == 200
    assert content["compatible"] is False
    assert content["labels"] == ["ball", "red cube"]
    assert [(d["name"], d["missing"], d["extra"], len(d["hints"])) for d in content["differences"]] == [
        ("One", [], [], 0), ("Two", ["ball"], ["Ball"], 1), ("Three", ["red cube"], ["duck", "red cub"], 1),
    ]  # fmt: skip
    assert content["differences"][1]["message"] == "“Two” lacks “ball” and has in addition “Ball”."
    assert (await world.call("POST", check, {"dataset_ids": [one, one]}))[1]["compatible"] is True
    assert (await world.call("POST", check, {"dataset_ids": [one, "nowhere"]}))[0] == 404
    assert (await world.stranger("POST", check, {"dataset_ids": [one]}))[0] == 404
    status, content = await world.call("POST", check, {"dataset_ids": []})
    assert (status, content["error"]["field"]) == (400, "dataset_ids")


async def test_roles(world: World) -> None:
    one = await world.added()
    assert (await world.viewer("POST", world.url("", {"name": "a"}), data=world.archive()))[0] == 403
    assert (await world.viewer("DELETE", world.url(f"/{one}")))[0] == 403
    assert (await world.stranger("GET", world.url(f"/{one}")))[0] == 404
    assert (await world.stranger("DELETE", world.url(f"/{one}")))[0] == 404
    admin = Caller(world.session, token(role="admin"))
    for method in ("PUT", "DELETE"):
        assert (await admin(method, f"{world.service.url}/api/internal/claims/job", {}))[0] == 403
    assert (await admin("GET", f"{world.service.url}/api/internal/claims"))[0] == 403
    async with world.session.get(world.url()) as response:
        assert response.status == 401


async def half_an_upload(world: World, headers: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request with half of its body has been sent, and the import of which has begun."""
    data = world.archive()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.port)
    writer.write(
        f"POST /api/datasets?name=Half HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(world.team)}\r\n"
        f"Content-Type: application/zip\r\n{headers or f'Content-Length: {len(data)}'}\r\n\r\n".encode()
    )
    if not headers:
        writer.write(data[: len(data) // 2])
    await writer.drain()
    await until(world.importing)
    return reader, writer


async def status_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The status that a raw connection is answered with, and its end."""
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


async def test_a_connection_lost_during_the_upload(world: World) -> None:
    _, writer = await half_an_upload(world)
    writer.transport.abort()
    await until(world.none_importing, 2)
    await world.nothing_is_left()
    assert "request.failed" not in world.service.log.read_text()


async def test_a_body_that_is_not_what_its_header_says(world: World) -> None:
    reader, writer = await half_an_upload(world, "Content-Encoding: gzip\r\nContent-Length: 100")
    writer.write(bytes(100))
    assert await status_of(reader, writer) == 400
    await until(world.none_importing, 2)
    await world.nothing_is_left()
    assert "request.failed" not in world.service.log.read_text()


async def test_an_upload_that_stalls(world: World) -> None:
    reader, writer = await half_an_upload(world)
    assert await status_of(reader, writer) == 408
    await world.nothing_is_left()


async def test_a_second_process_leaves_the_firsts_folder_alone(world: World) -> None:
    [mine] = world.processes()
    async with Service("dataset", world.folder, world.environ):
        assert len(world.processes()) == 2
        assert mine.exists()
    assert world.processes() == [mine]


async def test_stopping_gives_up_what_is_under_way_and_keeps_what_is_there(own: World) -> None:
    one = await own.added()
    reader, writer = await half_an_upload(own)
    ended = asyncio.create_task(asyncio.to_thread(own.service.end))
    assert await status_of(reader, writer) == 503
    assert await ended == 0
    assert await own.documents.count_documents({"state": {"$ne": "ready"}}) == 0
    assert own.processes() == []
    await own.service.start()
    assert [dataset["id"] for dataset in (await own.call("GET", own.url()))[1]["datasets"]] == [one]


async def test_a_killed_service_leaves_nothing_for_long(own: World) -> None:
    _, writer = await half_an_upload(own)
    own.service.kill()
    writer.transport.abort()
    assert len(own.processes()) == 1
    await own.service.start()
    assert own.uploads() == []  # the dead one's folder is gone at once,
    assert len(own.processes()) == 1
    await until(own.none_importing, 20)  # its document after the silence
    await own.nothing_is_left()
    assert (await own.add())[0] == 201
