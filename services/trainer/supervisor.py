"""The child process: spawn it, read what it says, stop it, kill it.

Owns the pipes, the process group and the last lines of the log; knows no bus and no artifact store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from services.trainer.protocol import FromChild, StopReason, StopRun, decode_from_child, encode_line
from shared.runtime import log

LOG_LINES = 200
_LONGEST_LOG_LINE = 500
_LONGEST_MESSAGE = 1 << 20
# The child knows neither the bus nor anybody's token.
_SECRETS = frozenset({"TRAINYARD_SECRET", "TRAINYARD_TOKEN", "RABBITMQ_URL", "MONGO_URL"})


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

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        pipe: asyncio.ReadTransport,
        to_child: int,
    ) -> None:
        self._process = process
        self._reader = reader
        self._pipe = pipe
        self._to_child: int | None = to_child
        self._tail = LogTail()
        self._log = log.get("child")
        self._logging = asyncio.create_task(self._read_log())
        self._reaping = asyncio.create_task(self._reap())

    @classmethod
    async def start(cls, module: str, spec: Path, environment: Mapping[str, str]) -> Child:
        """Run `module` in a session of its own, tied to us by its two pipes. Raises OSError if it can't be started."""
        fd_in, to_child = os.pipe()
        from_child, fd_out = os.pipe()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LONGEST_MESSAGE)
        try:
            # The kernel ties a child to the thread that forked it: this is the main thread, which lives as long as we do.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, str(spec), str(fd_in), str(fd_out),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={name: value for name, value in environment.items() if name not in _SECRETS},
                pass_fds=(fd_in, fd_out),
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(to_child)
            os.close(from_child)
            raise
        finally:
            os.close(fd_in)
            os.close(fd_out)
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_child, "rb", buffering=0)
        )
        return cls(process, reader, pipe, to_child)

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and process group's too."""
        return self._process.pid

    def log_tail(self) -> list[str]:
        """The last lines that it printed, oldest first."""
        return self._tail.lines()

    async def messages(self) -> AsyncIterator[FromChild]:
        """What it says, until it closes its pipe. Raises BadChild for a line that isn't in the protocol."""
        while True:
            try:
                line = await self._reader.readline()
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

    def kill(self) -> None:
        """SIGKILL to its whole process group; nothing left is no error."""
        if self._process.returncode is None:
            self._kill_group()

    async def finish(self, grace: float) -> int:
        """Its exit status (negative: the signal that ended it); it is killed if it takes longer than `grace` seconds."""
        done, _ = await asyncio.wait({self._reaping}, timeout=grace)
        if not done:
            self._log.warning("child.killed", pid=self.pid, grace=grace)
            self.kill()
        await self._reaping
        await asyncio.wait({self._logging}, timeout=1)
        self._logging.cancel()
        self._pipe.close()
        if self._to_child is not None:
            os.close(self._to_child)
            self._to_child = None
        assert self._process.returncode is not None
        return self._process.returncode

    async def _reap(self) -> None:
        """Wait for its end, and end whatever it has started: a survivor would keep the pipe open."""
        await self._process.wait()
        self._kill_group()

    async def _read_log(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(1 << 16):
            for line in self._tail.feed(data):
                self._log.debug("child.said", pid=self.pid, line=line)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _text(line: bytes) -> str:
    return line[:_LONGEST_LOG_LINE].decode(errors="replace")
