"""The supervisor with small programs of its own: order, restarts, ends, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.local import supervisor
from deploy.local.lock import AlreadyRunning, hold, running_stack
from deploy.local.stack import Program
from deploy.local.supervisor import Console, StartFailed, Supervisor


class World:
    """A folder in which programs leave traces, and a supervisor for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def program(
        self, kind: str, script: str, *, name: str = "", stop_seconds: float = 5, quiet: bool = False
    ) -> Program:
        """A shell script that is ready once it has written a file by its name."""
        name = name or kind
        return Program(
            name=name,
            kind=kind,
            command=("sh", "-c", script.replace("READY", f'echo "$$" >> {name}.pids')),
            environment={"PATH": os.environ["PATH"]},
            ready=(self.folder / f"{name}.pids").exists,
            ready_seconds=5,
            stop_seconds=stop_seconds,
            quiet=quiet,
        )

    def supervise(self, *programs: Program) -> Supervisor:
        return Supervisor(programs, Console(program.name for program in programs), self.folder)

    def pids(self, name: str) -> list[int]:
        path = self.folder / f"{name}.pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    async def started_times(self, name: str, times: int) -> list[int]:
        async with asyncio.timeout(10):
            while len(self.pids(name)) < times:
                await asyncio.sleep(0.02)
        return self.pids(name)

    def left(self) -> list[psutil.Process]:
        """Processes that still run in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # it ended meanwhile, or isn't ours to look at
                continue
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE", 0.05)
    return World(tmp_path)


async def test_stages_start_one_after_the_other_and_end_in_their_own_order(world: World) -> None:
    script = "trap 'echo NAME >> ended; exit 0' TERM; echo NAME >> began; READY; while :; do sleep 0.05; done"
    kinds = ("gateway", "trainer", "scheduler", "broker", "epmd")
    stack = world.supervise(*(world.program(kind, script.replace("NAME", kind)) for kind in kinds))
    await stack.start()
    began = (world.folder / "began").read_text().split()
    assert began[:2] == ["epmd", "broker"]
    assert set(began[2:4]) == {"scheduler", "trainer"}
    assert began[4] == "gateway"
    await stack.end()
    assert (world.folder / "ended").read_text().split() == ["trainer", "scheduler", "gateway", "broker", "epmd"]
    assert world.left() == []


async def test_a_killed_program_is_started_again_and_the_others_never_notice(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = world.supervise(
        world.program("trainer", "READY; exec sleep 60", name="trainer-1"),
        world.program("trainer", "READY; exec sleep 60", name="trainer-2"),
    )
    await stack.start()
    (first,) = world.pids("trainer-1")
    os.kill(first, 9)
    assert len(await world.started_times("trainer-1", 2)) == 2
    assert len(world.pids("trainer-2")) == 1
    await stack.end()
    assert "trainer-1 ended by signal SIGKILL; starting it again" in capsys.readouterr().out
    assert world.left() == []


async def test_what_a_crashed_program_left_behind_is_killed_before_it_starts_again(world: World) -> None:
    stack = world.supervise(world.program("trainer", "sleep 60 & READY; exit 1"))
    stack_start = asyncio.create_task(stack.start())
    await world.started_times("trainer", 2)
    await stack_start
    assert len([process for process in world.left() if process.name() == "sleep"]) <= 1
    await stack.end()
    assert world.left() == []


async def test_a_program_that_never_gets_ready_ends_the_start_and_says_what_it_printed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = world.supervise(world.program("store", "echo the disk is full; exit 1", quiet=True))
    with pytest.raises(ExceptionGroup) as caught:
        await stack.start()
    assert caught.group_contains(StartFailed, match="store ended 4 times; its lines above say why")
    await stack.end()
    printed = capsys.readouterr().out
    assert printed.count("the disk is full") == 4
    assert "store ended with code 1; starting it again" in printed


async def test_a_program_that_hangs_is_given_up_after_its_time(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = world.program("store", "echo still thinking; exec sleep 60", quiet=True)
    object.__setattr__(hanging, "ready_seconds", 0.3)
    stack = world.supervise(hanging)
    with pytest.raises(ExceptionGroup) as caught:
        await stack.start()
    assert caught.group_contains(StartFailed, match=r"store was not ready after 0\.3 s")
    await stack.end()
    assert "still thinking" in capsys.readouterr().out
    assert world.left() == []


async def test_a_program_that_does_not_end_is_killed_after_its_time(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = "trap '' TERM; sleep 60 & READY; while :; do sleep 0.1; done"
    stack = world.supervise(world.program("trainer", deaf, stop_seconds=0.6))
    await stack.start()
    began = time.monotonic()
    await stack.end()
    assert 0.5 < time.monotonic() - began < 4
    assert "trainer did not end within 0.6 s: killing it" in capsys.readouterr().out
    assert world.left() == []


async def test_everything_at_once(world: World) -> None:
    deaf = "trap '' TERM; READY; while :; do sleep 0.1; done"
    stack = world.supervise(world.program("trainer", deaf), world.program("store", deaf))
    await stack.start()
    stack.kill()
    began = time.monotonic()
    await stack.end()
    assert time.monotonic() - began < 4
    assert world.left() == []


async def test_an_end_before_the_start_starts_nothing(world: World) -> None:
    stack = world.supervise(world.program("trainer", "READY; exec sleep 60"))
    await stack.end()
    assert world.pids("trainer") == []


async def test_long_and_unfinished_lines_are_passed_on(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import sys; print('a' * 200_000); print('\\n\\xff', end='tail'); sys.stdout.flush(); open('dataset.pids', 'w')"
    )
    program = world.program("dataset", "unused")
    object.__setattr__(program, "command", (sys.executable, "-c", script + "; import time; time.sleep(60)"))
    stack = world.supervise(program)
    await stack.start()
    await asyncio.sleep(0.5)
    await stack.end()
    printed = capsys.readouterr().out
    assert printed.count("a") >= 200_000
    assert "tail" in printed


def test_a_reader_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        Console(["store"]).line("store", "nobody hears this")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that closing can flush


def test_one_stack_for_one_data_folder(tmp_path: Path) -> None:
    assert running_stack(tmp_path / "none") is None
    assert running_stack(tmp_path) is None
    with hold(tmp_path, "http://localhost:1") as lock:
        found = running_stack(tmp_path)
        assert found is not None
        assert (found.pid, found.url, found.ready) == (os.getpid(), "http://localhost:1", False)
        lock.tell(found.__class__(pid=found.pid, url="x", ready=True))
        found = running_stack(tmp_path)
        assert found is not None
        assert found.ready
        with pytest.raises(AlreadyRunning) as caught, hold(tmp_path, "http://localhost:2"):
            pass
        assert caught.value.running == found
        (tmp_path / "stack.lock").write_text("")
        assert running_stack(tmp_path) is None
    assert running_stack(tmp_path) is None
