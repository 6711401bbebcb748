"""The status service, whole, on a real broker and store: from a fact on the bus to a websocket, and what survives what."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from deploy.local.ports import free_ports
from services.cli.fold import Position, State
from services.status.app import compose
from services.status.settings import StatusSettings
from services.status.store import StatusStore
from shared.contract.jobs import JobState
from shared.contract.pictures import (
    PICTURES_FILE,
    PREDICTIONS_FILE,
    EvaluationPicture,
    FoundBox,
    FoundBoxes,
    Pictures,
    Predictions,
    TrueBox,
    pack,
)
from shared.contract.stream import CLOSE_RESUME, CLOSE_UNAUTHORIZED, EventsFrame, SnapshotFrame
from shared.contract.views import ExportedFile, ExportView, JobView, PredictionsView
from shared.contract.wire import Envelope
from shared.runtime.artifacts import Artifacts
from shared.runtime.auth import mint
from shared.runtime.bus import RabbitBus
from shared.runtime.metrics import Metrics
from shared.runtime.service import Runtime, serve
from shared.runtime.trace import Tracing
from tests.support.status_facts import (
    EVALUATION,
    NOW,
    announced,
    changed,
    checkpointed,
    dataset_created,
    dataset_deleted,
    deleted,
    job,
    minutes,
    progressed,
    queue_moved,
    room_moved,
)
from tests.support.store import Store
from tests.support.stream_client import StreamClient, connected, shown

SECRET = "a secret of at least 32 characters"
pytestmark = pytest.mark.timeout(90)


class Service:
    """The service in this process: start, stop, start again on the same state; and a client of its own."""

    def __init__(self, amqp_url: str, mongo_url: str, mongo_prefix: str, folder: Path) -> None:
        self.artifacts = Artifacts(folder.as_uri())
        self._settings: dict[str, Any] = {
            "rabbitmq_url": amqp_url,
            "mongo_url": mongo_url,
            "mongo_prefix": mongo_prefix,
            "artifacts_url": folder.as_uri(),
            "trainyard_secret": SECRET,
            "drain_seconds": 5,
            "stream_idle_seconds": 1,
        }
        self.session = aiohttp.ClientSession()
        self.bus = RabbitBus(amqp_url, service="test", metrics=Metrics(), tracing=Tracing("test"))
        self.base = ""
        self._runtime: Runtime[StatusSettings] | None = None
        self._serving: asyncio.Task[int] | None = None

    async def start(self, **settings: Any) -> None:
        port = free_ports(1)[0]
        self.base = f"http://127.0.0.1:{port}"

        async def composed(runtime: Runtime[StatusSettings], app: web.Application) -> None:
            self._runtime = runtime
            await compose(runtime, app)

        made = StatusSettings(**{**self._settings, **settings, "port": port})
        self._serving = asyncio.create_task(serve("status", made, composed))
        serving = self._serving
        await self._ready(lambda: not serving.done())

    async def _ready(self, alive: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                assert alive(), "the service ended at start"
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.session.get(f"{self.base}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._runtime is not None and self._serving is not None:
            self._runtime.stopping.set()
            assert await self._serving == 0
            self._runtime = self._serving = None

    @contextlib.asynccontextmanager
    async def killable(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The service as a process of its own, which the test kills."""
        port = free_ports(1)[0]
        self.base = f"http://127.0.0.1:{port}"
        given = {name.upper(): str(value) for name, value in {**self._settings, "port": port}.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.status", env={**os.environ, **given}, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await self._ready(lambda: process.returncode is None)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def close(self) -> None:
        await self.stop()
        await self.session.close()
        await self.bus.close()

    async def tell(self, *facts: Envelope) -> None:
        for fact in facts:
            await self.bus.publish(fact)

    def get(self, path: str, *, team: str = "demo", **kwargs: Any) -> Any:
        return self.session.get(self.base + path, headers={**headers(team), **kwargs.pop("headers", {})}, **kwargs)

    async def json(self, path: str, *, team: str = "demo", status: int = 200) -> Any:
        async with self.get(path, team=team) as response:
            assert response.status == status, await response.text()
            return await response.json()

    @contextlib.asynccontextmanager
    async def watch(
        self, state: State | None = None, *, team: str = "demo", position: Position | None = None, token: str = ""
    ) -> AsyncIterator[StreamClient]:
        sent = {"Authorization": f"Bearer {token}"} if token else headers(team)
        async with connected(self.session, f"{self.base}/api/ws", state, position=position, headers=sent) as client:
            yield client

    async def known(self, team: str = "demo") -> State:
        """What a new client is shown."""
        async with self.watch(team=team) as client:
            await client.frame()
            return client.state


def token(team: str, lifetime: timedelta | None = None) -> str:
    return mint(SECRET, team=team, role="viewer", name="Ada", now=datetime.now(UTC), lifetime=lifetime)


def headers(team: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(team)}"}


@pytest_asyncio.fixture
async def service(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(amqp_url, mongo_url, mongo_prefix, tmp_path)
    await made.bus.connect()
    await made.start()
    yield made
    await made.close()


def running(version: int = 2, **fields: Any) -> JobView:
    return job(version=version, state=JobState.RUNNING, attempt=1, **fields)


# --- the stream --------------------------------------------------------------------------------------------------------


async def test_facts_appear_on_the_websocket(service: Service) -> None:
    async with service.watch() as client:
        first = await client.frame()
        assert isinstance(first, SnapshotFrame)
        assert (first.seq, first.models, first.team) == (0, [], "demo")
        await service.tell(dataset_created(), minutes(), queue_moved("m1"), changed(job()), checkpointed())
        state = await client.until(lambda state: state.metrics and state.models and state.queue and state.minutes)
        assert state.models["m1"].state is JobState.QUEUED
        assert state.metrics["m1"][100].evaluation == EVALUATION
        await service.tell(changed(running(), "started"))
        await client.until(lambda state: state.models["m1"].state is JobState.RUNNING)
        await service.tell(progressed(step=41), progressed(step=42))
        await client.until(lambda state: "m1" in state.progress and state.progress["m1"].step == 42)
        assert (await service.json("/api/models/m1"))["progress"]["step"] == 42
        await service.tell(changed(job(version=3, state=JobState.SUCCEEDED, attempt=1), "succeeded"))
        await client.until(lambda state: state.models["m1"].state is JobState.SUCCEEDED)
        assert not (await service.known()).progress
        await service.tell(deleted(), dataset_deleted(), queue_moved(seconds=1))
        await client.until(lambda state: not state.models and not state.datasets and not state.queue)
        assert shown(client.state) == shown(await service.known())


async def test_an_idle_client_hears_that_the_line_is_alive(service: Service) -> None:
    async with service.watch() as client:
        await client.frame()
        frame = await client.frame()
        assert isinstance(frame, EventsFrame)
        assert not frame.events


async def test_a_client_that_comes_back_misses_nothing(service: Service) -> None:
    async with service.watch() as client:
        await service.tell(changed(job()))
        left = await client.until(lambda state: state.models)
    await service.tell(*(changed(job(version=version)) for version in range(2, 12)))
    async with service.watch() as other:
        await other.until(lambda state: state.models and state.models["m1"].version == 11)
        async with service.watch(left) as client:
            await client.until(lambda state: state.models["m1"].version == 11)
            assert all(isinstance(frame, EventsFrame) for frame in client.frames)
            assert shown(client.state) == shown(other.state)


async def test_a_restart_of_the_service_is_no_gap(service: Service) -> None:
    async with service.watch() as client:
        await service.tell(changed(job()))
        await client.until(lambda state: state.models)
        stopping = asyncio.create_task(service.stop())
        assert await client.closed() == 1012
        await stopping
        left = client.state
    await service.tell(*(changed(job(version=version)) for version in range(2, 251)))
    await service.start()
    async with service.watch(left) as client:
        await client.until(lambda state: state.models["m1"].version == 250)
        assert all(isinstance(frame, EventsFrame) for frame in client.frames)
        assert sum(len(frame.events) for frame in client.frames if isinstance(frame, EventsFrame)) == 249
    again = left
    async with service.watch(again) as client:  # from the log now, in pages
        await client.until(lambda state: state.models["m1"].version == 250)
        assert [len(frame.events) for frame in client.frames if isinstance(frame, EventsFrame)] == [200, 49]
        assert shown(client.state) == shown(await service.known())


@pytest.mark.parametrize(
    "position", [Position("another-epoch", 1), Position("", 7), Position("current", 10**6), Position("current", -1)]
)
async def test_a_position_that_cannot_be_resumed_gets_a_snapshot(service: Service, position: Position) -> None:
    async with service.watch() as client:
        await service.tell(changed(job()))
        state = await client.until(lambda state: state.models)
    assert state.position is not None
    epoch = state.position.epoch if position.epoch == "current" else position.epoch
    async with service.watch(position=Position(epoch, position.seq)) as client:
        frame = await client.frame()
        assert isinstance(frame, SnapshotFrame)
        assert frame.seq == 1


async def test_a_position_that_was_trimmed_gets_a_snapshot(service: Service) -> None:
    await service.stop()
    await service.start(log_keep=3, tidy_seconds=0.05)
    async with service.watch() as client:
        await service.tell(changed(job()))
        left = await client.until(lambda state: state.models)
    await service.tell(*(changed(job(version=version)) for version in range(2, 12)))
    async with asyncio.timeout(20):
        while True:
            async with service.watch(left) as client:
                if isinstance(await client.frame(), SnapshotFrame):
                    break
            await asyncio.sleep(0.05)
    async with service.watch(client.state) as client:
        await client.until(lambda state: state.models["m1"].version == 11)
        assert shown(client.state) == shown(await service.known())


async def test_a_client_that_reads_nothing_is_told_to_resume(service: Service) -> None:
    await service.stop()
    await service.start(stream_backlog=20, stream_send_seconds=1)
    async with service.watch() as quick:
        await quick.frame()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(service.base.rpartition(":")[2]))
        writer.write(
            f"GET /api/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token('demo')}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b"101" in await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for version in range(1, 100):
            await service.tell(changed(job(version=version, labels=["x" * 200_000])))
        await quick.until(lambda state: state.models and state.models["m1"].version == 99)
        async with asyncio.timeout(20):
            while f'closed_total{{code="{CLOSE_RESUME}"}} 1.0' not in await _metrics(service):
                await asyncio.sleep(0.1)
        await asyncio.sleep(4.5)  # it doesn't take the close either: it is cut off
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_an_outage_of_the_store_is_waited_out(amqp_url: str, private_store: Store, tmp_path: Path) -> None:
    """`kill -9` of the store: facts wait at the broker, whoever watches stays connected and gets all of them."""
    service = Service(amqp_url, private_store.url, "outage_", tmp_path)
    await service.bus.connect()
    await service.start()
    async with service.watch() as client:
        await service.tell(changed(job("m0")))
        await client.until(lambda state: state.models)
        await asyncio.to_thread(private_store.kill)
        await service.tell(*(changed(job(f"m{number}")) for number in range(1, 30)))
        await asyncio.sleep(1)
        await asyncio.to_thread(private_store.start)
        await client.until(lambda state: len(state.models) == 30, seconds=40)
        assert _seq(client.state) == 30
        assert shown(client.state) == shown(await service.known())
    await service.close()


async def test_a_killed_service_leaves_no_gap(service: Service) -> None:
    """`kill -9` while it folds, three times: whoever watched resumes each time and ends with what a newcomer is shown."""
    await service.stop()
    telling = asyncio.create_task(_tell_slowly(service, 180))
    state = State()
    for _ in range(3):
        async with service.killable() as process, service.watch(state) as client:
            wanted = _seq(state) + 5
            while _seq(client.state) < wanted:
                await client.frame()
            process.kill()
            await client.closed()
            assert not any(isinstance(frame, SnapshotFrame) for frame in client.frames[1:])
            state = client.state
    await telling
    await service.start()
    async with service.watch(state) as client:
        await client.until(lambda state: all(state.models[f"m{n}"].version == 15 for n in range(12)))
        assert isinstance(client.frames[0], EventsFrame)
        assert _seq(client.state) == 180
        assert shown(client.state) == shown(await service.known())


def _seq(state: State) -> int:
    return 0 if state.position is None else state.position.seq


async def _tell_slowly(service: Service, count: int) -> None:
    for number in range(count):
        await service.tell(changed(job(f"m{number % 12}", version=1 + number // 12)))
        await asyncio.sleep(0.05)


async def _metrics(service: Service) -> str:
    async with service.session.get(f"{service.base}/metrics") as response:
        return await response.text()


# --- who may see what --------------------------------------------------------------------------------------------------


async def test_all_teams_are_told_what_concerns_the_room(service: Service) -> None:
    async with service.watch() as ours, service.watch(team="others") as theirs:
        await service.tell(room_moved())
        moved = [await client.until(lambda state: state.room_moved_at) for client in (ours, theirs)]
        assert {state.room_moved_at for state in moved} == {NOW}
        assert [state.position and state.position.seq for state in moved] == [0, 0]
        await service.tell(announced(2, "Finals"), room_moved(seconds=-1), room_moved(seconds=2), changed(job()))
        state = await ours.until(lambda state: state.models)
        assert state.room_moved_at == NOW + timedelta(seconds=2)
        await theirs.until(lambda state: state.room_moved_at == NOW + timedelta(seconds=2))
        assert [[one.text for one in client.state.announcements] for client in (ours, theirs)] == [["Finals"]] * 2
    await service.stop()
    await service.start()
    async with service.watch(team="new") as later:
        await later.frame()
        assert later.state.room_moved_at == NOW + timedelta(seconds=2)
        assert [one.text for one in later.state.announcements] == ["Finals"]
        await service.tell(announced(1, "Late"), announced(3))
        await later.until(lambda state: not state.announcements)


async def test_another_team_sees_nothing(service: Service) -> None:
    async with service.watch(team="theirs") as theirs, service.watch() as ours:
        await theirs.frame()
        await service.tell(changed(job()), dataset_created(), minutes(), queue_moved("m1"), checkpointed())
        await ours.until(lambda state: state.metrics and state.queue and state.minutes and state.models)
        await service.tell(changed(running()), progressed(step=5))
        await service.tell(changed(job("t1", team="theirs"), team="theirs"))
        await theirs.until(lambda state: state.models)
        assert theirs.state.position is not None
        assert (set(theirs.state.models), theirs.state.position.seq) == ({"t1"}, 1)
        assert not theirs.state.datasets
        assert theirs.state.minutes is None
        assert shown(theirs.state) == shown(await service.known("theirs"))
    assert [model["id"] for model in (await service.json("/api/models", team="theirs"))["models"]] == ["t1"]
    for path in ("", "/metrics", "/events", "/download?format=float32"):
        refusal = await service.json(f"/api/models/m1{path}", team="theirs", status=404)
        assert refusal["error"]["code"] == "not_found"


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer nonsense"}, {"Cookie": "trainyard_token=nonsense"}])
async def test_no_good_token(service: Service, sent: dict[str, str]) -> None:
    async with service.session.get(f"{service.base}/api/models", headers=sent) as response:
        assert response.status == 401
    async with service.session.ws_connect(f"{service.base}/api/ws", headers=sent) as socket:
        message = await socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == CLOSE_UNAUTHORIZED


async def test_a_token_that_expires_ends_the_connection(service: Service) -> None:
    async with service.watch(token=token("demo", timedelta(seconds=2))) as client:
        assert isinstance(await client.frame(), SnapshotFrame)
        assert await client.closed() == CLOSE_UNAUTHORIZED


@pytest.mark.parametrize(("origin", "accepted"), [("http://evil.example", False), (None, True), ("own", True)])
async def test_the_cookie_works_only_from_our_own_page(service: Service, origin: str | None, *, accepted: bool) -> None:
    sent = {"Cookie": f"trainyard_token={token('demo')}"}
    if origin is not None:
        sent["Origin"] = service.base if origin == "own" else origin
    if accepted:
        async with connected(service.session, f"{service.base}/api/ws", headers=sent) as client:
            assert isinstance(await client.frame(), SnapshotFrame)
    else:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await service.session.ws_connect(f"{service.base}/api/ws", headers=sent)
        assert caught.value.status == 403


# --- over HTTP ---------------------------------------------------------------------------------------------------------


async def test_models_metrics_and_story(service: Service) -> None:
    later = datetime(2026, 5, 1, tzinfo=UTC)
    await service.tell(
        changed(job("m1")), changed(job("m2", created_at=later)),
        changed(job("m1", version=2, state=JobState.PREPARING, attempt=1, trainer="gpu-1"), "assign"),
        checkpointed("m1", step=200), checkpointed("m1", step=100), checkpointed("m1", step=100, attempt=2),
    )  # fmt: skip
    async with service.watch() as client:
        await client.until(lambda state: state.position and state.position.seq == 6)
    listed = (await service.json("/api/models"))["models"]
    assert [model["id"] for model in listed] == ["m2", "m1"]
    one = await service.json("/api/models/m1")
    assert one["model"] == listed[1]
    assert one["progress"] is None
    assert [(point["step"], point["attempt"]) for point in one["metrics"]] == [(100, 2), (200, 1)]
    assert (await service.json("/api/models/m1/metrics"))["metrics"] == one["metrics"]
    assert one["metrics"][0]["evaluation"] == EVALUATION
    story = (await service.json("/api/models/m1/events"))["events"]
    assert [(line["trigger"], line["state"]) for line in story] == [("submit", "QUEUED"), ("assign", "PREPARING")]
    assert story[1]["message"] == "Assigned to trainer gpu-1, attempt 1."
    assert (await service.json("/api/models/none", status=404))["error"]["code"] == "not_found"


async def test_download(service: Service, tmp_path: Path) -> None:
    content = {"float32.tflite": b"\x1c\x00\x00\x00TFL3" * 300_000, "labels.txt": b"???\nball\n"}
    folder = tmp_path / "made"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    service.artifacts.publish("jobs/m1/model", folder)
    digest = hashlib.sha256(content["float32.tflite"]).hexdigest()
    files = [
        ExportedFile(format="float32", name="float32.tflite", bytes=len(content["float32.tflite"]), sha256=digest),
        ExportedFile(format="float16", name="float16.tflite", bytes=1, sha256="0"),
    ]
    done = job(
        version=2,
        state=JobState.SUCCEEDED,
        description="Bälle",
        export=ExportView(step=9, prefix="jobs/m1/model", files=files),
    )
    await service.tell(changed(done), changed(job("m2")))
    async with service.watch() as client:
        await client.until(lambda state: set(state.models) == {"m1", "m2"})

    async with service.get("/api/models/m1/download?format=float32") as response:
        assert await response.read() == content["float32.tflite"]
        assert response.headers["Content-Length"] == str(len(content["float32.tflite"]))
        assert response.headers["ETag"] == f'"{digest}"'
        assert response.headers["Content-Disposition"] == (
            "attachment; filename=\"Balle-float32.tflite\"; filename*=UTF-8''B%C3%A4lle-float32.tflite"
        )
    seen = {"If-None-Match": f'"{digest}"'}
    async with service.get("/api/models/m1/download?format=float32", headers=seen) as response:
        assert response.status == 304
    async with service.session.head(
        f"{service.base}/api/models/m1/download?format=float32", headers=headers("demo")
    ) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(content["float32.tflite"])))
    async with service.get("/api/models/m1/download?format=labels") as response:
        assert await response.read() == content["labels.txt"]
        assert "-labels.txt" in response.headers["Content-Disposition"]
    for path, status, code in [
        ("m1/download?format=int8", 400, "unknown_format"),
        ("m1/download", 400, "unknown_format"),
        ("m1/download?format=float16", 404, "no_export"),  # announced, but not in the store
        ("m2/download?format=float32", 404, "no_export"),
    ]:
        assert (await service.json(f"/api/models/{path}", status=status))["error"]["code"] == code

    stored = tmp_path / "jobs/m1/model/labels.txt"
    stored.write_bytes(b"cut")
    await service.json("/api/models/m1/download?format=labels", status=404)
    stored.unlink()
    await service.json("/api/models/m1/download?format=labels", status=404)


def put_pictures(artifacts: Artifacts, folder: Path) -> PredictionsView:
    """Two evaluation pictures of m1 and what was found in them at step 100."""
    pictures = [
        EvaluationPicture(
            number=number,
            dataset_id="d1",
            dataset="Bälle",
            file=f"<{number}>.jpg",
            width=320,
            height=240,
            boxes=[TrueBox(label="ball", ymin=0.1, xmin=0.2, ymax=0.3, xmax=0.4)] * number,
        )
        for number in range(2)
    ]
    found = FoundBox(label="ball", score=0.9, ymin=0.1, xmin=0.2, ymax=0.3, xmax=0.4)
    predictions = [FoundBoxes(number=0, boxes=[]), FoundBoxes(number=1, boxes=[found])]
    for name, files in {
        "pictures-a1": {
            PICTURES_FILE: pack(Pictures(pictures=pictures)),
            "000.jpg": b"\xff\xd8\xff zero",
            "001.jpg": b"\xff\xd8\xff one",
        },
        "predictions/00000100-a1": {PREDICTIONS_FILE: pack(Predictions(pictures=predictions))},
    }.items():
        made = folder / name
        made.mkdir(parents=True)
        for file, content in files.items():
            (made / file).write_bytes(content)
        artifacts.publish(f"jobs/m1/{name}", made)
    return PredictionsView(prefix="jobs/m1/predictions/00000100-a1", pictures="jobs/m1/pictures-a1")


async def test_pictures_and_predictions(service: Service, tmp_path: Path) -> None:
    view = put_pictures(service.artifacts, tmp_path / "made")
    await service.tell(
        changed(job("m1")),
        changed(job("old")),
        checkpointed("m1", step=100, predictions=view),
        checkpointed("m1", step=200),  # its predictions couldn't be kept
        checkpointed("old", step=100),  # from before there were any
    )
    async with service.watch() as client:
        await client.until(lambda state: state.position and state.position.seq == 5)
    points = (await service.json("/api/models/m1/metrics"))["metrics"]
    assert [point["predictions"] for point in points] == [msgspec.to_builtins(view), None]

    pictures = (await service.json("/api/models/m1/pictures"))["pictures"]
    assert [(picture["number"], picture["file"], len(picture["boxes"])) for picture in pictures] == [
        (0, "<0>.jpg", 0),
        (1, "<1>.jpg", 1),
    ]
    assert (pictures[1]["dataset"], pictures[1]["width"], pictures[1]["height"]) == ("Bälle", 320, 240)
    assert pictures[1]["boxes"][0] == {"label": "ball", "ymin": 0.1, "xmin": 0.2, "ymax": 0.3, "xmax": 0.4}
    async with service.get("/api/models/m1/pictures/1.jpg") as response:
        assert await response.read() == b"\xff\xd8\xff one"
        assert response.content_type == "image/jpeg"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        seen = {"If-None-Match": response.headers["ETag"]}
    async with service.get("/api/models/m1/pictures/1.jpg", headers=seen) as response:
        assert (response.status, await response.read()) == (304, b"")

    (checkpoint,) = (await service.json("/api/models/m1/predictions"))["checkpoints"]
    assert (checkpoint["step"], checkpoint["attempt"]) == (100, 1)
    found = await service.json("/api/models/m1/predictions/100")
    assert (found["step"], found["attempt"]) == (100, 1)
    assert [(picture["number"], len(picture["boxes"])) for picture in found["pictures"]] == [(0, 0), (1, 1)]
    assert found["pictures"][1]["boxes"][0]["score"] == 0.9
    async with service.get("/api/models/m1/predictions/100") as response:
        assert response.headers["Cache-Control"] == "private, no-cache"
        seen = {"If-None-Match": response.headers["ETag"]}
    async with service.get("/api/models/m1/predictions/100", headers=seen) as response:
        assert response.status == 304

    assert await service.json("/api/models/old/pictures") == {"pictures": []}
    assert await service.json("/api/models/old/predictions") == {"checkpoints": []}
    for path, code in [
        ("m1/pictures/2.jpg", "no_picture"),
        ("m1/pictures/999999999.jpg", "no_picture"),
        ("m1/pictures/pictures.json.gz", "not_found"),
        ("m1/pictures/-1.jpg", "not_found"),
        ("m1/predictions/200", "no_predictions"),
        ("m1/predictions/300", "no_predictions"),
        ("m1/predictions/latest", "not_found"),
        ("old/pictures/0.jpg", "no_picture"),
        ("old/predictions/100", "no_predictions"),
    ]:
        assert (await service.json(f"/api/models/{path}", status=404))["error"]["code"] == code
    for path in ("pictures", "pictures/1.jpg", "predictions", "predictions/100"):
        error = (await service.json(f"/api/models/m1/{path}", team="other", status=404))["error"]
        assert error["message"] == "There is no model 'm1' in your team."


async def test_pictures_and_predictions_that_are_lost_or_damaged(service: Service, tmp_path: Path) -> None:
    view = put_pictures(service.artifacts, tmp_path / "made")
    await service.tell(changed(job("m1")), checkpointed("m1", step=100, predictions=view))
    async with service.watch() as client:
        await client.until(lambda state: state.position and state.position.seq == 2)
    predictions = tmp_path / view.prefix / PREDICTIONS_FILE
    predictions.write_bytes(b"x" * predictions.stat().st_size)
    (tmp_path / view.pictures / "000.jpg").unlink()
    for path, code in [("predictions/100", "not_kept"), ("pictures/0.jpg", "no_picture")]:
        assert (await service.json(f"/api/models/m1/{path}", status=404))["error"]["code"] == code
    service.artifacts.delete(view.pictures)
    assert (await service.json("/api/models/m1/pictures", status=404))["error"]["code"] == "not_kept"


async def test_pictures_that_were_listed_cost_one_read_each(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = put_pictures(service.artifacts, tmp_path / "made")
    await service.tell(changed(job("m1")), checkpointed("m1", step=100, predictions=view))
    async with service.watch() as client:
        await client.until(lambda state: state.position and state.position.seq == 2)
    reads: list[str] = []

    def counted(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def counting(self: Any, *args: Any) -> Any:
            reads.append(name)
            return real(self, *args)

        monkeypatch.setattr(kind, name, counting)

    counted(StatusStore, "model")
    counted(StatusStore, "newest_predictions")
    counted(Artifacts, "manifest")
    counted(Artifacts, "open")
    await service.json("/api/models/m1/pictures")
    assert sorted(reads) == ["manifest", "model", "newest_predictions", "open"]
    reads.clear()
    for number in (0, 1):
        async with service.get(f"/api/models/m1/pictures/{number}.jpg") as response:
            assert response.status == 200
    assert reads == ["open", "open"]
    # What is known of a team's model is no other team's, and no longer anybody's when the folder has gone.
    await service.json("/api/models/m1/pictures/0.jpg", team="other", status=404)
    service.artifacts.delete(view.pictures)
    assert (await service.json("/api/models/m1/pictures/0.jpg", status=404))["error"]["code"] == "no_picture"
    again = PredictionsView(prefix=view.prefix, pictures="jobs/m1/pictures-a2")
    service.artifacts.publish(again.pictures, tmp_path / "made/pictures-a1")
    await service.tell(checkpointed("m1", step=200, predictions=again))
    async with service.watch() as client:
        await client.until(lambda state: state.position and state.position.seq == 3)
    async with service.get("/api/models/m1/pictures/0.jpg") as response:
        assert await response.read() == b"\xff\xd8\xff zero"


async def test_a_download_that_is_broken_off_harms_nobody(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "float32.tflite").write_bytes(bytes(64 << 20))
    service.artifacts.publish("jobs/m1/model", folder)
    files = [ExportedFile(format="float32", name="float32.tflite", bytes=64 << 20, sha256="0")]
    view = ExportView(step=9, prefix="jobs/m1/model", files=files)
    await service.tell(changed(job(version=2, state=JobState.SUCCEEDED, export=view)))
    async with service.watch() as client:
        await client.until(lambda state: state.models)
    response = await service.get("/api/models/m1/download?format=float32")
    await response.content.read(1000)
    response.close()
    async with service.session.get(f"{service.base}/readyz") as ready:
        assert ready.status == 200
