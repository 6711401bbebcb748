"""What is in a dataset, shown by the real service: ranges, pictures, statistics, also of datasets that had no index."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from services.dataset import index
from tests.support.datasets import World
from tests.support.running import Caller, token
from tests.support.voc import annotation, frames, picture
from tests.support.waiting import until


def contents() -> dict[str, bytes | str]:
    """12 pictures of 320 x 240 with a ball, 12 of 64 x 48 with a cube, 6 without anything."""
    files: dict[str, bytes | str] = {}
    for number in range(12):
        files[f"big{number}.jpg"] = picture(number, (320, 240))
        files[f"big{number}.xml"] = annotation(f"big{number}.jpg", [("ball", 32, 24, 176, 120)], (320, 240))
    for number in range(18):
        boxes = [("cube", 16, 12, 48, 36)] if number < 12 else []
        files[f"small{number}.jpg"] = picture(50 + number)
        files[f"small{number}.xml"] = annotation(f"small{number}.jpg", boxes)
    return files


async def add(world: World) -> str:
    status, content = await world.add(world.archive(contents()))
    assert status == 201, content
    return str(content["dataset"]["id"])


async def get(caller: Caller, url: str, **headers: str) -> tuple[int, bytes, Any]:
    """The status, the bytes and the headers of an answer that isn't JSON."""
    async with caller._session.get(url, headers={**caller._headers, **headers}) as response:
        return response.status, await response.read(), response.headers


async def test_ranges_of_pictures(world: World) -> None:
    one = await add(world)

    async def pictures(**query: object) -> Any:
        status, content = await world.viewer("GET", world.url(f"/{one}/pictures", query))
        assert status == 200, content
        return content

    everything = await pictures()
    assert (everything["total"], everything["offset"], len(everything["pictures"])) == (30, 0, 30)
    assert [item["index"] for item in everything["pictures"]] == list(range(30))
    assert [item["name"] for item in everything["pictures"]] == [
        *(f"big{number}.jpg" for number in range(12)), *(f"small{number}.jpg" for number in range(18)),
    ]  # fmt: skip
    first = everything["pictures"][0]
    assert (first["width"], first["height"]) == (320, 240)
    [box] = first["boxes"]
    assert box.pop("label") == "ball"
    assert box == pytest.approx({"xmin": 0.1, "ymin": 0.1, "xmax": 0.55, "ymax": 0.5})

    page = await pictures(offset=28, limit=10)
    assert (page["total"], page["offset"], page["pictures"]) == (30, 28, everything["pictures"][28:])
    assert await pictures(offset=28, limit=10) == page
    cubes = await pictures(label="cube", limit=5)
    assert (cubes["total"], [item["index"] for item in cubes["pictures"]]) == (12, [12, 13, 14, 15, 16])
    nothing = await pictures(negative="true")
    assert [item["index"] for item in nothing["pictures"]] == list(range(24, 30))
    in_pools = [(await pictures(pool=pool))["pictures"] for pool in ("train", "eval")]
    assert sorted(item["index"] for pool in in_pools for item in pool) == list(range(30))
    assert [{item["pool"] for item in pool} for pool in in_pools] == [{"train"}, {"eval"}]
    dataset = (await world.call("GET", world.url(f"/{one}")))[1]["dataset"]
    assert [len(pool) for pool in in_pools] == [dataset["train_frames"], dataset["eval_frames"]]


BAD: list[tuple[str, str]] = [
    ("/pictures?limit=0", "limit"),
    ("/pictures?limit=201", "limit"),
    ("/pictures?offset=-1", "offset"),
    ("/pictures?pool=test", "pool"),
    ("/pictures?label=Cube", "label"),
    ("/pictures?negative=maybe", "negative"),
    ("/pictures?negative=true&label=cube", "negative"),
    ("/pictures/0.jpg?size=huge", "size"),
]


async def test_bad_parameters(world: World) -> None:
    one = await add(world)
    for path, field in BAD:
        status, content = await world.call("GET", world.url(f"/{one}{path}"))
        assert (status, content["error"]["code"], content["error"]["field"]) == (400, "bad_parameter", field)
    for path in ("/pictures/30.jpg", "/pictures/999999999.jpg", "/pictures/x.jpg", "/pictures/-1.jpg"):
        assert (await world.call("GET", world.url(f"/{one}{path}")))[0] == 404


async def test_a_picture_and_its_thumbnail(world: World) -> None:
    one = await add(world)
    for number, full, small in ((0, (320, 240), (240, 180)), (12, (64, 48), (64, 48))):
        url = world.url(f"/{one}/pictures/{number}.jpg")
        tags = []
        for query, size in (("", full), ("?size=full", full), ("?size=thumb", small)):
            status, data, headers = await get(world.viewer, url + query)
            assert (status, headers["Content-Type"]) == (200, "image/jpeg")
            assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
            assert headers["X-Content-Type-Options"] == "nosniff"
            with Image.open(io.BytesIO(data)) as image:
                assert (image.format, image.size) == ("JPEG", size)
            tags.append(headers["ETag"])
            status, data, headers = await get(world.viewer, url + query, **{"If-None-Match": headers["ETag"]})
            assert (status, data, headers["ETag"]) == (304, b"", tags[-1])
            assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
            assert (await get(world.viewer, url + query, **{"If-None-Match": '"other"'}))[0] == 200
        assert tags[0] == tags[1]
        assert (tags[2] == tags[0]) == (full == small)


async def test_statistics(world: World) -> None:
    one = await add(world)
    status, content = await world.viewer("GET", world.url(f"/{one}/statistics"))
    assert status == 200
    dataset = (await world.call("GET", world.url(f"/{one}")))[1]["dataset"]
    assert [(item["name"], item["train"]["boxes"], item["eval"]["boxes"]) for item in content["labels"]] == [
        (label["name"], label["train"], label["eval"]) for label in dataset["labels"]
    ]
    assert content["train"]["pictures"] + content["eval"]["pictures"] == 30
    assert content["train"]["negatives"] + content["eval"]["negatives"] == 6
    assert (content["bytes"], content["tiny_boxes"]) == (dataset["bytes"], 0)
    assert [size["boxes"] for size in content["box_sizes"]] == [0, 0, 0, 0, 0, 0, 24]
    assert content["picture_sizes"] == [
        {"width": 64, "height": 48, "pictures": 18}, {"width": 320, "height": 240, "pictures": 12},
    ]  # fmt: skip


async def test_only_the_team_and_operators_see_it(world: World) -> None:
    one = await add(world)
    operator = Caller(world.session, token("room", role="admin"))
    mentor = Caller(world.session, token("room", role="mentor"))
    for path in ("/pictures", "/pictures/0.jpg", "/pictures/0.jpg?size=thumb", "/statistics"):
        for caller, expected in ((world.viewer, 200), (operator, 200), (world.stranger, 404), (mentor, 404)):
            assert (await get(caller, world.url(f"/{one}{path}")))[0] == expected, path
        async with world.session.get(world.url(f"/{one}{path}")) as response:
            assert response.status == 401
    assert (await operator("GET", world.url(f"/{one}")))[0] == 200
    assert (await operator("DELETE", world.url(f"/{one}")))[0] == 404
    await world.call("DELETE", world.url(f"/{one}"))
    for path in ("/pictures", "/pictures/0.jpg", "/statistics"):
        assert (await world.viewer("GET", world.url(f"/{one}{path}")))[0] == 404


async def test_the_index_goes_with_its_dataset(world: World) -> None:
    one = await add(world)
    assert world.artifacts.folders(f"datasets/{one}") == [index.FOLDER]
    folder = world.artifacts.fetch(f"datasets/{one}", world.folder / "cache")
    assert not (folder / index.FOLDER).exists()  # trainers don't need it
    await world.call("DELETE", world.url(f"/{one}"))

    async def purged() -> bool:
        return world.artifacts.folders(f"datasets/{one}") == []

    await until(purged)


async def as_before_there_was_an_index(world: World, dataset_id: str) -> None:
    world.artifacts.delete(index.prefix(dataset_id))
    await world.documents.update_one({"_id": dataset_id}, {"$unset": {"indexed": "", "view.findings": ""}})


async def test_a_dataset_without_an_index_gets_one_when_it_is_looked_at(own: World) -> None:
    one, two = await add(own), await own.added()
    before = [(await own.call("GET", own.url(f"/{one}{path}")))[1] for path in ("/pictures", "/statistics", "")]
    jpeg = (await get(own.viewer, own.url(f"/{one}/pictures/3.jpg?size=thumb")))[1]
    own.service.end()
    for dataset_id in (one, two):
        await as_before_there_was_an_index(own, dataset_id)
    await own.service.start()
    # Many at once: one of them makes it.
    answers = await asyncio.gather(*(own.viewer("GET", own.url(f"/{one}/pictures")) for _ in range(8)))
    assert {status for status, _ in answers} == {200}
    assert answers[0][1] == before[0]
    assert (await own.viewer("GET", own.url(f"/{one}/statistics")))[1] == before[1]
    assert (await get(own.viewer, own.url(f"/{one}/pictures/3.jpg?size=thumb")))[1] == jpeg
    lines = own.service.log.read_text().splitlines()
    assert sum("dataset.indexed" in line and one in line for line in lines) == 1

    async def all_are_indexed() -> bool:  # also those that nobody looks at
        return await own.documents.count_documents({"indexed": index.VERSION}) == 2

    await until(all_are_indexed)
    assert (await own.call("GET", own.url(f"/{one}")))[1] == before[2]
    assert own.artifacts.folders(f"datasets/{two}") == [index.FOLDER]


async def test_an_index_that_is_broken_is_made_again(own: World) -> None:
    one = await add(own)
    before = (await own.call("GET", own.url(f"/{one}/pictures")))[1]
    own.service.end()
    path = Path(own.environ["ARTIFACTS_URL"].removeprefix("file://")) / index.prefix(one) / index.INDEX
    path.write_bytes(path.read_bytes()[:-1])
    await own.service.start()
    assert await own.viewer("GET", own.url(f"/{one}/pictures")) == (200, before)
    (path.parent / index.THUMBS).unlink()
    status, content = await own.viewer("GET", own.url(f"/{one}/pictures/0.jpg?size=thumb"))
    assert (status, content["error"]["code"]) == (503, "files_unreadable")
    assert (await get(own.viewer, own.url(f"/{one}/pictures/0.jpg?size=thumb")))[0] == 200
    assert own.artifacts.folders(f"datasets/{one}") == [index.FOLDER]


async def test_files_that_cant_be_read_are_no_server_error(own: World) -> None:
    one, two = await add(own), await own.added()
    own.service.end()
    root = Path(own.environ["ARTIFACTS_URL"].removeprefix("file://")) / "datasets"
    for dataset_id in (one, two):
        await as_before_there_was_an_index(own, dataset_id)
    for shard in (root / one).glob("train-*"):
        shard.write_bytes(shard.read_bytes()[:-7])
    await own.service.start()
    for path in ("/pictures", "/pictures/0.jpg", "/statistics"):
        status, content = await own.viewer("GET", own.url(f"/{one}{path}"))
        assert (status, content["error"]["code"]) == (503, "files_unreadable")
    assert (await own.viewer("GET", own.url(f"/{one}")))[0] == 200

    async def the_other_is_indexed() -> bool:
        return await own.documents.count_documents({"_id": two, "indexed": index.VERSION}) == 1

    await until(the_other_is_indexed)
    assert "request.failed" not in own.service.log.read_text()
    assert "duty.failed" not in own.service.log.read_text()


async def test_many_pictures_at_once(world: World) -> None:
    status, content = await world.add(world.archive(frames(60)))
    assert status == 201
    url = world.url(f"/{content['dataset']['id']}/pictures")
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, token(world.team))
        answers = await asyncio.gather(*(get(caller, f"{url}/{number}.jpg?size=thumb") for number in range(60)))
    assert {status for status, _, _ in answers} == {200}
    assert len({data for _, data, _ in answers}) == 60
