"""A training process as its parent sees it: started over pipes, its messages collected, stopped or abandoned at will.

Stands in for the trainer's parent in engine tests; the process itself is the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import msgspec

from services.trainer.protocol import FromChild, RunPhase, RunSpec, StopReason, StopRun, decode_from_child, encode_line

M = TypeVar("M")


class Child:
    """One run of `python -m services.trainer.child` on `spec`; `on_message` sees each message as it comes; a `deaf`
    parent doesn't keep its end of the child's output."""

    def __init__(
        self, spec: RunSpec, on_message: Callable[[Child, FromChild], None] | None = None, *, deaf: bool = False
    ) -> None:
        self.spec = spec
        work = Path(spec.work_dir)
        work.mkdir(parents=True, exist_ok=True)
        spec_file = work / "spec.json"
        spec_file.write_bytes(msgspec.json.encode(spec))
        child_in, self._to_child = os.pipe()
        from_child, child_out = os.pipe()
        self.log = work / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.trainer.child", str(spec_file), str(child_in), str(child_out)],
                pass_fds=(child_in, child_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(child_in)
        os.close(child_out)
        self.messages: list[FromChild] = []
        self.times: list[float] = []
        self._on_message = on_message
        self._reader = threading.Thread(target=self._read, args=(from_child,), daemon=True)
        if deaf:
            os.close(from_child)
        else:
            self._reader.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as source:
            for line in source:
                message = decode_from_child(line)
                self.messages.append(message)
                self.times.append(time.monotonic())
                if self._on_message is not None:
                    self._on_message(self, message)

    def stop(self, reason: StopReason) -> None:
        self.write(encode_line(StopRun(reason=reason)))

    def write(self, line: bytes) -> None:
        os.write(self._to_child, line)

    def hang_up(self) -> None:
        """Close the pipe to the child, as the end of its parent would."""
        os.close(self._to_child)
        self._to_child = -1

    def wait(self, seconds: float = 100) -> int:
        """The exit status, once all messages are read. A child that takes longer is killed."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the child didn't end within {seconds} s; its log ends:\n{self.tail()}") from None
        if self._reader.is_alive():
            self._reader.join(10)
        if self._to_child >= 0:
            self.hang_up()
        return status

    def tail(self) -> str:
        """The last lines of the child's log, for messages of failed tests."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def all(self, kind: type[M]) -> list[M]:
        """The messages of one kind, in order."""
        return [message for message in self.messages if isinstance(message, kind)]

    def kinds(self) -> list[str]:
        """The wire names of all messages in order, progress and phases left out."""
        names = [str(type(message).__struct_config__.tag) for message in self.messages]
        return [name for name in names if name not in ("progressed", "phase")]

    def phases(self) -> list[str]:
        """The phases in order, each once in a row."""
        return [phase for phase, _ in groupby(message.phase for message in self.all(RunPhase))]
