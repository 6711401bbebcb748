"""Runs the programs of the local stack: starts them in order, restarts what crashes, ends them in order.

honcho reads the Procfile and prints the lines; its Manager is not used, because it ends the whole stack when one process
ends and kills everything five seconds after the first signal, while here a killed trainer is an everyday event and
another needs a minute for its last checkpoint. Knows nothing of what the programs are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from deploy.local.process import TETHER, kill_session
from deploy.local.stack import START_ORDER, STOP_ORDER, Program

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_STEADY_SECONDS = 30.0
_CRASHES_BEFORE_READY = 4
_LONGEST_LINE = 64 * 1024
_KEPT_LINES = 40


class StartFailed(Exception):
    """A program didn't become ready; the text says which and what to look at."""


class Console:
    """The lines of all programs on one output, by honcho's printer: time, name and colour."""

    def __init__(self, names: Iterable[str]) -> None:
        self._printer = Printer(sys.stdout, width=max(map(len, [*names, "stack"])))
        self._colours = get_colours()

    def colour(self) -> str:
        """The next program's colour."""
        return str(next(self._colours))

    def line(self, name: str, text: str, colour: str | None = None) -> None:
        """Print a line; a reader that went away must not end the stack."""
        with contextlib.suppress(BrokenPipeError):
            self._printer.write(Message(type="line", data=text, time=datetime.now(), name=name, colour=colour))

    def say(self, text: str) -> None:
        """A line of the stack's own."""
        self.line("stack", text)


class Keeper:
    """Keeps one program alive until it is told to end it."""

    def __init__(self, program: Program, console: Console, folder: Path) -> None:
        self.program = program
        self.crashes = 0
        self._console = console
        self._colour = console.colour()
        self._unsaid: deque[str] = deque(maxlen=_KEPT_LINES)
        self._folder = folder
        self._ending = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._keep(), name=self.program.name)

    async def wait_ready(self) -> None:
        """Return when the program is ready; raises StartFailed when time is up or it keeps crashing."""
        program = self.program
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(program.ready_seconds):
                while not await asyncio.to_thread(program.ready):
                    if self.crashes >= _CRASHES_BEFORE_READY:
                        raise StartFailed(f"{program.name} ended {self.crashes} times; its lines above say why")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self._say_unsaid()
            raise StartFailed(
                f"{program.name} was not ready after {program.ready_seconds:g} s; its lines above may say why"
            ) from None
        self._console.say(f"{program.name} is ready ({asyncio.get_running_loop().time() - began:.1f} s)")

    async def end(self) -> None:
        """End the program: SIGTERM, again at half time (one within milliseconds of a start can be lost), then SIGKILL."""
        self._ending.set()
        if self._task is None:
            return
        half = self.program.stop_seconds / 2
        for _ in range(2):
            self._signal(signal.SIGTERM)
            await asyncio.wait({self._task}, timeout=half)
            if self._task.done():
                return
        self._console.say(f"{self.program.name} did not end within {self.program.stop_seconds:g} s: killing it")
        self.kill()
        await self._task

    def kill(self) -> None:
        """SIGKILL to the program and all that is left of its session."""
        self._ending.set()
        if self._process is not None and self._process.returncode is None:
            kill_session(self._process.pid)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            began = clock()
            code = await self._run_once()
            if self._ending.is_set():
                return
            self.crashes += 1
            self._say_unsaid()
            if clock() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            self._console.say(f"{self.program.name} ended {_in_words(code)}; starting it again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), timeout=pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run_once(self) -> int:
        # A pipe of our own: asyncio's waits for a process would wait for whoever else holds its pipe, too.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *TETHER,
                *self.program.command,
                env=dict(self.program.environment),
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self._process = process
        if self._ending.is_set():  # told to end while the process was being made
            process.terminate()
        relay = asyncio.create_task(self._relay(reading))
        code = await process.wait()
        kill_session(process.pid)  # what it started and left behind
        # The last lines are still in the pipe; something that kept the pipe open must not keep us.
        await asyncio.wait({relay}, timeout=1)
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        return code

    async def _relay(self, reading: int) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb")
        )
        with contextlib.closing(transport):
            await self._relay_lines(stream)

    async def _relay_lines(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(_LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._print(line)
        if rest:
            self._print(rest)

    def _print(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace") or " "
        if self.program.quiet:
            self._unsaid.append(text)
        else:
            self._console.line(self.program.name, text, self._colour)

    def _say_unsaid(self) -> None:
        while self._unsaid:
            self._console.line(self.program.name, self._unsaid.popleft(), self._colour)


class Supervisor:
    """All keepers of one stack. `run` is its whole life."""

    def __init__(self, programs: Sequence[Program], console: Console, folder: Path) -> None:
        self._console = console
        self._keepers = [Keeper(program, console, folder) for program in programs]

    async def start(self) -> None:
        """Start stage after stage, each ready before the next; raises StartFailed."""
        for kinds in START_ORDER:
            stage = self._of(kinds)
            for keeper in stage:
                keeper.start()
            async with asyncio.TaskGroup() as group:
                for keeper in stage:
                    group.create_task(keeper.wait_ready())

    async def end(self) -> None:
        """End stage after stage; returns when no process is left."""
        for kinds in STOP_ORDER:
            await asyncio.gather(*(keeper.end() for keeper in self._of(kinds)))

    def kill(self) -> None:
        """End everything at once; `end` still has to be awaited."""
        for keeper in self._keepers:
            keeper.kill()

    def _of(self, kinds: Sequence[str]) -> list[Keeper]:
        return [keeper for keeper in self._keepers if keeper.program.kind in kinds]


def _in_words(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
