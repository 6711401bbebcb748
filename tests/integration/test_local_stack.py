"""The whole local stack as `make up` and `make down` run it: every process real, on a data folder and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.ports import free_ports
from tests.support.stack import Stack, require_stack, wait_for
from tests.support.store import Store

PARTS = {"epmd", "broker", "store", "dataset", "scheduler", "status", "trainer-1", "gateway"}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    require_stack()
    made = Stack(tmp_path)
    yield made
    made.clear()


@pytest.mark.timeout(240)
def test_up_serves_page_and_services_survives_kills_and_ends_without_a_trace(stack: Stack) -> None:
    found = stack.up()
    assert all(stack.words_of(f"{name} is ready") for name in PARTS)
    status, _ = stack.get("/healthz")
    assert status == 200

    token = json.loads((stack.data / "cli.json").read_text())
    assert token["url"] == f"http://localhost:{stack.port}" == found.url
    bearer = {"Authorization": f"Bearer {token['token']}"}
    for path in ("/api/datasets", "/api/models", "/api/team"):
        assert stack.get(path, **bearer)[0] == 200, path
        assert stack.get(path)[0] == 401, path
    for name in ("secret", "token", "cli.json", "gateway/nginx.conf"):
        assert stat.S_IMODE((stack.data / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(stack.data.stat().st_mode) == 0o700

    again = stack.command("up")
    assert again.returncode == 1
    assert f"already running at {found.url} (process {found.pid}); `make down` ends it" in again.stderr

    # A killed trainer, service or gateway comes back; the stack and its other parts never stop.
    for module in ("services.trainer", "services.status", "nginx"):
        (victim,) = [one for one in stack.processes() if module in one.cmdline()]
        victim.kill()
        wait_for(
            lambda module=module, old=victim.pid: any(  # type: ignore[misc]
                module in one.cmdline() and one.pid != old for one in stack.processes()
            ),
            seconds=10,
            stack=stack,
        )
    wait_for(lambda: stack.answers("/api/models", **bearer), seconds=20, stack=stack)

    secret = (stack.data / "secret").read_text()
    down = stack.command("down")
    assert (down.returncode, down.stdout.splitlines()[-1]) == (0, "everything has ended")
    assert stack.process is not None
    assert stack.process.wait(timeout=5) == 0
    assert stack.processes() == []
    assert stack.command("down").stdout == "nothing is running\n"

    # What a kill -9 of the stack itself leaves: nothing but the data, with which the next one starts.
    found = stack.up()
    assert (stack.data / "secret").read_text() == secret
    assert stack.get("/api/datasets", **bearer)[0] == 200
    os.kill(found.pid, signal.SIGKILL)
    stack.process.wait()
    wait_for(lambda: stack.processes() == [], seconds=5, stack=stack)
    stack.up()
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(timeout=100) == 0
    assert stack.processes() == []


@pytest.mark.timeout(120)
def test_given_parts_are_used_and_not_started(tmp_path: Path, stack: Stack, amqp_url: str, store: Store) -> None:
    stack.environ |= {
        "RABBITMQ_URL": amqp_url,
        "MONGO_URL": store.url,
        "MONGO_PREFIX": "given_parts_",
        "ARTIFACTS_URL": (tmp_path / "elsewhere").as_uri(),
        "TRAINERS": "2",
    }
    stack.up()
    names = {process.name() for process in stack.processes()}
    assert not names & {"beam.smp", "epmd", "secantusd-py"}
    assert stack.words_of("trainer-2 is ready")
    assert stack.words_of("RABBITMQ_URL is given: using amqp://guest@127.0.0.1")
    assert not stack.words_of("guest:guest")
    assert stack.command("down").returncode == 0
    assert stack.processes() == []


@pytest.mark.parametrize(("name", "words"), [("RABBITMQ_URL", "no broker answers"), ("MONGO_URL", "no store answers")])
def test_a_given_part_that_does_not_answer_is_said_at_once(stack: Stack, name: str, words: str) -> None:
    (nobody,) = free_ports(1)
    scheme = "amqp" if name == "RABBITMQ_URL" else "mongodb"
    stack.environ[name] = f"{scheme}://user:hidden@127.0.0.1:{nobody}/"
    answer = stack.command("up")
    assert answer.returncode == 1
    assert f"{name} is set, but {words} at {scheme}://user@127.0.0.1:{nobody}/" in answer.stderr
    assert "hidden" not in answer.stderr


def test_a_page_s_port_in_use_is_said_with_its_holder(stack: Stack, store: Store) -> None:
    stack.environ["TRAINYARD_PORT"] = str(store.node.port)
    answer = stack.command("up")
    assert answer.returncode == 1
    assert f"port {store.node.port} is in use by" in answer.stderr
    assert f"(process {store.pid})" in answer.stderr
    assert "TRAINYARD_PORT" in answer.stderr


def test_a_short_secret_is_refused(stack: Stack) -> None:
    stack.environ["TRAINYARD_SECRET"] = "too short"
    answer = stack.command("up")
    assert answer.returncode == 1
    assert "TRAINYARD_SECRET has 9 characters: it must have at least 32" in answer.stderr


@pytest.mark.timeout(90)
def test_a_start_that_fails_ends_what_it_started_and_the_background_says_why(stack: Stack) -> None:
    stack.data.mkdir()
    (stack.data / "store").write_text("a file where the store's folder must be")
    answer = stack.command("up", "--detach")
    assert answer.returncode == 1
    assert "could not start: store ended" in answer.stderr
    assert stack.processes() == []
