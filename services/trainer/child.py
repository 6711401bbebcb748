"""The process that trains: reads its spec, listens to its parent, runs the engine, ends.

Owns signals, pipes and the exit. Started as `python -m services.trainer.child <spec file> <fd in> <fd out>`. It has no
life of its own: it ignores the terminal's and the service manager's signals (its parent decides), and dies with its
parent, by the kernel's hand (PR_SET_PDEATHSIG) or at the end of its input pipe. TensorFlow is imported only after the
pipe is being listened to. Standard output goes to standard error, where the parent keeps the last lines of the log.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from services.trainer.engine.control import StopSignal
from services.trainer.protocol import STACKS, FromChild, RunFailed, RunSpec, decode_to_child, encode_line

EXIT_FAILED = 1
EXIT_ORPHANED = 3
_PR_SET_PDEATHSIG = 1


class Pipe:
    """Writes messages, each whole, from any thread. If nobody reads them any more, the process ends at once."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self.step = 0

    def send(self, message: FromChild) -> None:
        self.step = getattr(message, "step", self.step)
        try:
            with self._lock:
                self._out.write(encode_line(message))
                self._out.flush()
        except BrokenPipeError:
            os._exit(EXIT_ORPHANED)


def listen(source: BinaryIO, stop: StopSignal) -> None:
    """Pass the parent's messages on until the pipe ends; then end the process: the parent is gone."""
    try:
        for line in source:
            stop.ask(decode_to_child(line).reason)
    except msgspec.DecodeError:
        traceback.print_exc()
    finally:
        os._exit(EXIT_ORPHANED)


def detach() -> None:
    """Ignore signals meant for the parent, leave its terminal, die when it dies, and print the threads' stacks on STACKS."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.getsid(0) != os.getpid() and os.getpgrp() != os.getpid():
        os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.register(STACKS, file=sys.stderr, all_threads=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def main(arguments: Sequence[str]) -> int:
    """Run the attempt of the spec file; returns the exit status. RunEnded or RunFailed is the last message."""
    spec_file, fd_in, fd_out = arguments
    detach()
    stop = StopSignal()
    pipe = Pipe(os.fdopen(int(fd_out), "wb"))
    threading.Thread(target=listen, args=(os.fdopen(int(fd_in), "rb"), stop), daemon=True).start()
    spec = msgspec.json.decode(Path(spec_file).read_bytes(), type=RunSpec)
    pipe.step = spec.resume_step
    try:
        # Imported here: it takes seconds, during which the pipe must be listened to.
        from services.trainer.engine.run import run

        run(spec, pipe.send, stop)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        traceback.print_exc()
        code, message = _explain(error, spec)
        pipe.send(RunFailed(code=code, message=message, step=pipe.step))
        return EXIT_FAILED
    return 0


def _explain(error: BaseException, spec: RunSpec) -> tuple[str, str]:
    """The engine's explanation; if even that can't be had (no TensorFlow), the plain fact."""
    try:
        from services.trainer.engine.failures import explain

        return explain(error, spec)
    except Exception:  # noqa: BLE001 - the explanation must never hide the failure
        traceback.print_exc()
        return "internal_error", f"The training program failed ({type(error).__name__}); its log says more."


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    # Without TensorFlow's clean-up at interpreter exit: it may take seconds, and all is said and written.
    os._exit(status)
