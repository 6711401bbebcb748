"""How the page bears many models: 500 that all move each second, frames counted in headless Chromium; and its first load.

A server in this process plays the status service: it sends a snapshot, then each second the progress of every model and a
checkpoint for some. `make bench BENCH=bench_page`, `BENCH_ARGS="--models 1000 --seconds 30"`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import mimetypes
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect

from shared.contract.api.jobs import Session
from shared.contract.jobs import JobState
from shared.contract.stream import EventsFrame, ModelPut, Progress, SnapshotFrame, StreamEvent
from shared.contract.views import CheckpointView, JobView, TeamView
from tests.support.browser import open_browser
from tests.support.stack import CHECKOUT

DIST = CHECKOUT / "services" / "web" / "dist"
_PACE = 3.7
# Between two drawn frames, in milliseconds, while the page runs.
_COUNT_FRAMES = """seconds => new Promise(done => {
  const gaps = [], longTasks = [];
  const watcher = new PerformanceObserver(list => longTasks.push(...list.getEntries().map(entry => entry.duration)));
  watcher.observe({type: 'longtask'});
  let last = performance.now();
  const end = last + 1000 * seconds;
  const frame = now => {
    gaps.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(frame);
    else { watcher.disconnect(); done({gaps: gaps.slice(1), longTasks}); }
  };
  requestAnimationFrame(frame);
})"""


class Stream:
    """The page's files and a status service for one team, whose models all make steps."""

    def __init__(self, models: int, checkpoints: int) -> None:
        self._count, self._checkpoints = models, checkpoints
        self._began = time.monotonic()
        self.models = [self._model(number) for number in range(models)]

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/ws", self.socket),
                web.get("/api/session", self.session),
                web.get("/{path:.*}", self.file),
            ]
        )
        return app

    async def session(self, _: web.Request) -> web.Response:
        session = Session(team="demo", role="mentor", name="Ada", expires=None)
        return web.Response(body=msgspec.json.encode(session), content_type="application/json")

    async def file(self, request: web.Request) -> web.Response:
        """As the gateway sends it: compressed where that helps."""
        path = DIST / (request.match_info["path"] or "index.html")
        if not path.is_file():
            raise web.HTTPNotFound
        body, headers = path.read_bytes(), {}
        if path.suffix in {".js", ".css", ".html", ".svg"}:
            body, headers = gzip.compress(body, 6), {"Content-Encoding": "gzip"}
        kind = mimetypes.guess_type(path.name)[0] or "font/woff2"
        return web.Response(body=body, content_type=kind, headers=headers)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(msgspec.json.encode(self._snapshot()).decode())
        seq = 0
        with suppress(ConnectionError):  # the page was closed
            while not socket.closed:
                await asyncio.sleep(1)
                frame = self._events(seq)
                seq += len(frame.events)
                await socket.send_str(msgspec.json.encode(frame).decode())
        return socket

    def _snapshot(self) -> SnapshotFrame:
        minutes = TeamView(
            team="demo", granted_seconds=36_000, used_seconds=600, reserved_seconds=0, balance_seconds=35_400, version=1
        )
        progress = [self._progress(model) for model in self.models]
        return SnapshotFrame(
            epoch="bench",
            seq=0,
            time=datetime.now(UTC),
            team="demo",
            minutes=minutes,
            models=self.models,
            datasets=[],
            queue=[],
            progress=progress,
        )

    def _events(self, seq: int) -> EventsFrame:
        """Progress of all, and the next checkpoint of some."""
        events: list[StreamEvent] = []
        for index in range(self._checkpoints):
            number = (seq + index) % self._count
            model = self.models[number]
            checkpoint = CheckpointView(
                step=model.steps_completed + 100, stepping_seconds=1, saved_at=datetime.now(UTC), prefix="p", map=0.4
            )
            self.models[number] = replace(
                model, version=model.version + 1, checkpoint=checkpoint, steps_completed=checkpoint.step
            )
            events.append(ModelPut(seq=seq + index + 1, model=self.models[number]))
        progress = [self._progress(model) for model in self.models]
        return EventsFrame(epoch="bench", time=datetime.now(UTC), events=events, progress=progress)

    def _progress(self, model: JobView) -> Progress:
        seconds = time.monotonic() - self._began
        return Progress(
            model_id=model.id,
            attempt=1,
            step=int(seconds * _PACE) + 1,
            at=datetime.now(UTC),
            stepping_seconds=seconds,
            steps_per_second=_PACE,
            learning_rate=0.01,
            losses={"Loss/total_loss": 1.5, "Loss/classification_loss": 1.0},
        )

    def _model(self, number: int) -> JobView:
        now = datetime.now(UTC)
        return JobView(
            id=f"model{number}",
            team="demo",
            version=1,
            state=JobState.RUNNING,
            description=f"Model {number}",
            created_by="Ada",
            created_at=now,
            starting_model="ssd_mobilenet_v2_320x320",
            dataset_ids=["d"],
            dataset_names=["Field photos"],
            labels=["Ball", "Cube"],
            train_frames=160,
            eval_frames=40,
            batch_size=8,
            steps_requested=8000,
            steps_completed=0,
            max_seconds=3600,
            attempt=1,
            queued_at=now,
            running_since=now,
        )


def _serve(stream: Stream) -> str:
    """Serve in a thread; the address."""
    ready: list[str] = []
    started = threading.Event()

    async def run() -> None:
        runner = web.AppRunner(stream.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.append(f"http://localhost:{runner.addresses[0][1]}")
        started.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    started.wait(10)
    return ready[0]


def _first_load(browser: Browser, url: str) -> dict[str, float]:
    with browser.new_context() as context:
        page = context.new_page()
        sizes: list[int] = []
        page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
        begun = time.monotonic()
        page.goto(f"{url}/#/models")
        page.wait_for_selector("[data-testid=model-row]")
        seconds = time.monotonic() - begun
        return {"first row (s)": seconds, "files sent (kB)": sum(sizes) / 1000, "files": len(sizes)}


def _frames(page: Page, seconds: float) -> dict[str, float]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy() -> dict[str, float]:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in metrics}

    before = busy()
    counted: dict[str, Any] = page.evaluate(_COUNT_FRAMES, seconds)
    after = busy()
    gaps = sorted(counted["gaps"])
    share = {name: (after[name] - before[name]) / seconds for name in ("TaskDuration", "ScriptDuration")}
    return {
        "frames a second": len(gaps) / (sum(gaps) / 1000),
        "gap p50 (ms)": gaps[len(gaps) // 2],
        "gap p99 (ms)": gaps[int(len(gaps) * 0.99)],
        "gap max (ms)": gaps[-1],
        "frames over 25 ms": sum(gap > 25 for gap in gaps) / len(gaps),
        "long tasks (50 ms)": len(counted["longTasks"]),
        "page busy (share)": share["TaskDuration"],
        "of it scripts": share["ScriptDuration"],
        "heap (MB)": after["JSHeapUsedSize"] / 1e6,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--checkpoints", type=int, default=25, help="models a second that get a checkpoint")
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    stream = Stream(given.models, given.checkpoints)
    url = _serve(stream)
    with open_browser() as browser:
        rows = _first_load(browser, url)
        with browser.new_context(viewport={"width": 1280, "height": 860}) as context:
            page = context.new_page()
            page.goto(f"{url}/#/models")
            expect(page.get_by_test_id("model-row")).to_have_count(given.models, timeout=30_000)
            steps = page.get_by_test_id("steps-completed").first
            before = steps.inner_text()
            page.wait_for_timeout(2000)
            assert steps.inner_text() != before, "nothing moves"
            rows |= _frames(page, given.seconds)
    print(f"{given.models} models that move each second, {given.checkpoints} of them with a checkpoint;")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {Path(DIST).name} as built\n")
    for name, value in rows.items():
        print(f"{name:<22}{value:>10.2f}")


if __name__ == "__main__":
    main()
