"""The child process: spawn it, read what it says, stop it, kill it.

Owns the pipes, the process group and the last lines of the log; knows no bus and no artifact store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from services.trainer.protocol import STACKS, FromChild, StopReason, StopRun, decode_from_child, encode_line
from services.trainer.threads import abandonable
from shared.runtime import log

LOG_LINES = 200
# How long a process may take to end once it is killed; the kernel needs time for many gigabytes.
DEATH_SECONDS = 10.0
_LONGEST_LOG_LINE = 500
_LONGEST_MESSAGE = 1 << 20
# Once the process and its group are gone, its pipes end: no more than this is waited for that.
_LAST_LINES_SECONDS = 1.0
# The child knows neither the bus nor the artifact store, nor anybody's token.
_SECRETS = frozenset({"TRAINYARD_SECRET", "TRAINYARD_TOKEN", "RABBITMQ_URL", "MONGO_URL", "ARTIFACTS_URL"})
_CREDENTIALS = ("AWS_", "FSSPEC_")


class BadChild(Exception):
    """The child said something that isn't in the protocol."""


class LogTail:
    """The last lines of what a process printed; bytes go in as they come."""

    def __init__(self, lines: int = LOG_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        """Take `data` in; returns the lines that it completed. A carriage return ends a line too: progress bars use it."""
        *whole, self._open = (self._open + data).replace(b"\r", b"\n").split(b"\n")
        self._open = self._open[-_LONGEST_MESSAGE:]
        lines = [_text(line) for line in whole if line.strip()]
        self._lines.extend(lines)
        return lines

    def lines(self) -> list[str]:
        """Oldest first, the unfinished line last."""
        return [*self._lines, *([_text(self._open)] if self._open.strip() else [])][-LOG_LINES:]


class Child:
    """One running child. Make it with `start`."""

    def __init__(self, process: subprocess.Popen[bytes], from_child: int, output: int, to_child: int) -> None:
        self._process = process
        self._messages = asyncio.create_task(_Input.open(from_child))
        self._output = asyncio.create_task(_Input.open(output))
        self._to_child: int | None = to_child
        self._tail = LogTail()
        self._log = log.get("child")
        self._logging = asyncio.create_task(self._read_log())
        self._reaping = asyncio.create_task(self._reap())

    @classmethod
    def start(cls, module: str, spec: Path, environment: Mapping[str, str]) -> Child:
        """Run `module` in a session of its own, tied to us by its pipes.

        In one go: no cancellation comes between the process and whoever kills it. Raises OSError or ValueError.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            (fd_in, to_child), (from_child, fd_out), (output, fd_log) = (os.pipe() for _ in range(3))
            for stack, ends in ((theirs, (fd_in, fd_out, fd_log)), (ours, (to_child, from_child, output))):
                for end in ends:
                    stack.callback(os.close, end)
            # The kernel ties a child to the thread that forked it: this is the main thread, which lives as long as we do.
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(spec), str(fd_in), str(fd_out)],
                stdin=subprocess.DEVNULL,
                stdout=fd_log,
                stderr=fd_log,
                env=without_secrets(environment),
                pass_fds=(fd_in, fd_out),
                start_new_session=True,
            )
            ours.pop_all()
        return cls(process, from_child, output, to_child)

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and process group's too."""
        return self._process.pid

    def log_tail(self) -> list[str]:
        """The last lines that it printed, oldest first."""
        return self._tail.lines()

    async def messages(self) -> AsyncIterator[FromChild]:
        """What it says, until it closes its pipe. Raises BadChild for a line that isn't in the protocol."""
        reader = (await asyncio.shield(self._messages)).reader
        while True:
            try:
                line = await reader.readline()
                if not line.endswith(b"\n"):  # the end, or a line that its death tore
                    return
                message = decode_from_child(line)
            except (msgspec.MsgspecError, ValueError) as error:
                raise BadChild(f"not a message: {error}") from error
            yield message

    def stop(self, reason: StopReason) -> None:
        """Ask it to end in good order; one that is already gone is left to whoever reads its end."""
        if self._to_child is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._to_child, encode_line(StopRun(reason=reason)))

    def show_stacks(self) -> None:
        """Have it print where each of its threads is, which needs none of them to go on; one that can't, ends."""
        if self._process.returncode is None:
            os.kill(self._process.pid, STACKS)

    def kill(self) -> None:
        """SIGKILL to its whole process group; nothing left is no error."""
        if self._process.returncode is None:
            self._kill_group()

    async def finish(self, grace: float) -> int:
        """Its exit status (negative: the signal that ended it); it is killed if it takes longer than `grace` seconds. One that
        even that doesn't end, as its driver hangs in the kernel, is left behind."""
        done, _ = await asyncio.wait({self._reaping}, timeout=grace)
        if not done:
            self._log.warning("child.killed", pid=self.pid, grace=grace)
            self.kill()
            done, _ = await asyncio.wait({self._reaping}, timeout=DEATH_SECONDS)
        if done:
            status = await self._reaping
        else:
            self._log.error("child.undying", pid=self.pid)
            status = -signal.SIGKILL
        await asyncio.wait({self._logging}, timeout=_LAST_LINES_SECONDS)
        self._logging.cancel()
        for pipe in (self._messages, self._output):
            (await pipe).close()
        if self._to_child is not None:
            os.close(self._to_child)
            self._to_child = None
        return status

    async def _reap(self) -> int:
        """Wait for its end, and end whatever it has started: a survivor would keep the pipes open."""
        # It stays a zombie until then, so that its number names no other group.
        await abandonable(lambda: os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT))
        self._kill_group()
        return self._process.wait()

    async def _read_log(self) -> None:
        reader = (await asyncio.shield(self._output)).reader
        while data := await reader.read(1 << 16):
            for line in self._tail.feed(data):
                self._log.debug("child.said", pid=self.pid, line=line)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class _Input:
    """The reading end of a pipe."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self.reader = reader
        self._transport = transport

    @classmethod
    async def open(cls, descriptor: int) -> _Input:
        """Read from `descriptor`, which is ours from now on."""
        reader = asyncio.StreamReader(limit=_LONGEST_MESSAGE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(reader, transport)

    def close(self) -> None:
        self._transport.close()


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child may know of the trainer's environment."""
    return {
        name: value for name, value in environment.items() if name not in _SECRETS and not name.startswith(_CREDENTIALS)
    }


def _text(line: bytes) -> str:
    return line[:_LONGEST_LOG_LINE].decode(errors="replace")
