"""A training process that trains nothing: it speaks the trainer's protocol at the pace and with the faults of a script.

A real process, run by the trainer's parent as `python -m tests.support.scripted_child <spec file> <fd in> <fd out>`. The
script is JSON, see `Script`: the file `<job>.script` in the folder that CHILD_RECORDS names, else the environment variable
CHILD_SCRIPT. Each run leaves its pid and its specification in that folder as `<job>-a<attempt>.json`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from services.trainer import protocol
from services.trainer.engine.control import Interrupted, StopSignal
from services.trainer.engine.stops import Stops
from services.trainer.protocol import FromChild, Phase, RunSpec, StopReason, decode_to_child, encode_line

MAP = "DetectionBoxes_Precision/mAP"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in a run. `maps` gives the mAP of a checkpoint by step (as text), 0.1 where it isn't said; `slow` how many
    seconds a phase takes, in which the run looks at stops; `slow_start` seconds in which it doesn't; `faults` says what goes
    wrong at a step:

    a signal's name (SIGSTOP freezes it), `exit:3`, `fail:nan_loss`; `garbage` for a message that is none; `no_folder` for a
    checkpoint and `unexported` for a model that aren't there; `die_evaluating`; `hang`: no more steps, still stoppable; `deaf`:
    no more steps, no stop either; `orphan`: dies and leaves a process that holds its pipes.
    """

    step_seconds: float = 0.005
    slow_start: float = 0.0
    slow: dict[Phase, float] = {}
    maps: dict[str, float] = {}
    faults: dict[str, str] = {}


# What a child has no business with.
SECRETS = (
    "TRAINYARD_SECRET",
    "TRAINYARD_TOKEN",
    "RABBITMQ_URL",
    "MONGO_URL",
    "ARTIFACTS_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "FSSPEC_S3_SECRET",
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves for the test."""

    pid: int
    spec: RunSpec
    visible_devices: str | None
    secrets: list[str]
    resume_files: list[str]
    init_files: list[str] = []


class Run:
    """One run. Stops are the engine's own."""

    def __init__(self, spec: RunSpec, script: Script, fd_out: int) -> None:
        self.spec = spec
        self.script = script
        self.step = self.saved_step = spec.resume_step
        self.pictures_due = spec.keep_pictures
        self.signal = StopSignal()
        self.stops = Stops(self.signal, lambda: self.step, self.say)
        self._out = os.fdopen(fd_out, "wb")
        self._turn = threading.Lock()

    def say(self, message: FromChild) -> None:
        with self._turn:
            self._out.write(encode_line(message))
            self._out.flush()

    def listen(self, fd_in: int) -> None:
        """Pass the parent's stops on; end with the parent."""
        with os.fdopen(fd_in, "rb") as source:
            for line in source:
                self.signal.ask(decode_to_child(line).reason)
        os._exit(3)

    def make(self) -> None:
        """The whole run."""
        try:
            reason = self.work()
        except Interrupted as interrupted:
            reason = interrupted.reason
            self.stops.answer()
        outcomes = {None: "succeeded", "user": "stopped", "time_limit": "stopped", "drained": "drained"}
        self.say(
            protocol.RunEnded(
                outcome=outcomes[reason],  # type: ignore[arg-type]
                step=self.step,
                stepping_seconds=self.seconds,
                reason=reason,
            )
        )

    def work(self) -> StopReason | None:
        """All phases; why it stopped before all steps were made."""
        spec = self.spec
        time.sleep(self.script.slow_start)
        self.spend("preparing")
        if spec.resume_step and not spec.resume_evaluated:
            self.evaluate()
        reason = self.make_steps()
        if reason is not None and self.step > self.saved_step:
            self.save()
            self.evaluate()
        self.stops.look()
        if self.step:
            self.export()
        return reason

    def make_steps(self) -> StopReason | None:
        """Until all are made, or a stop comes."""
        spec = self.spec
        while self.step < spec.steps:
            reason = self.stops.begin_step()
            if reason is not None:
                self.stops.answer()
                return reason
            time.sleep(self.script.step_seconds)
            self.step += 1
            if self.step == spec.resume_step + 1:
                self.say(protocol.RunStarted(step=self.step, resumed_from=spec.resume_step, seconds=0.1))
                self.say(protocol.RunPhase(phase="stepping"))
            self.say(self.progress())
            self.fault(self.script.faults.get(str(self.step), ""))
            self.stops.end_step()
            if self.step % spec.checkpoint_every == 0 or self.step == spec.steps:
                self.save()
                self.evaluate()
                self.say(protocol.RunPhase(phase="stepping"))
        return None

    def spend(self, phase: Phase) -> None:
        """As long as the script wants the phase to take."""
        end = time.monotonic() + self.script.slow.get(phase, 0.0)
        self.stops.look()
        while time.monotonic() < end:
            time.sleep(0.01)
            self.stops.look()

    @property
    def seconds(self) -> float:
        """A step takes a tenth of a second by this clock."""
        return self.spec.resume_seconds + (self.step - self.spec.resume_step) / 10

    def progress(self) -> protocol.RunProgressed:
        return protocol.RunProgressed(
            step=self.step,
            stepping_seconds=self.seconds,
            steps_per_second=10.0,
            learning_rate=0.01,
            losses={"Loss/total_loss": 1.0},
        )

    def save(self) -> None:
        self.say(protocol.RunPhase(phase="saving"))
        self.saved_step = self.step
        folder = Path(self.spec.work_dir) / f"saved-{self.step}"
        folder.mkdir()
        (folder / "ckpt.index").write_text(f"step {self.step}")
        (folder / "ckpt.data").write_bytes(bytes([self.step % 256]) * 1000)
        self.say(
            protocol.CheckpointSaved(
                step=self.step,
                stepping_seconds=self.seconds,
                path=str(folder),
                training={"Loss/total_loss": 1 / self.step},
            )
        )

    def evaluate(self) -> None:
        self.say(protocol.RunPhase(phase="evaluating"))
        self.spend("evaluating")
        if self.script.faults.get(str(self.step)) == "die_evaluating":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.pictures_due:
            self.pictures_due = False
            pictures = self.folder_with("pictures", f"pictures of attempt {self.spec.attempt}")
            self.say(protocol.PicturesKept(path=pictures))
        found = {MAP: self.script.maps.get(str(self.step), 0.1)}
        kept = self.folder_with(f"predictions-{self.step}", f"predictions of step {self.step}")
        self.say(protocol.CheckpointEvaluated(step=self.step, evaluation=found, seconds=0.1, predictions=kept))

    def folder_with(self, name: str, content: str) -> str:
        """A folder with one file."""
        folder = Path(self.spec.work_dir) / name
        folder.mkdir()
        (folder / "content").write_text(content)
        return str(folder)

    def export(self) -> None:
        self.say(protocol.RunPhase(phase="exporting"))
        self.spend("exporting")
        folder = Path(self.spec.work_dir) / "model"
        folder.mkdir()
        files: dict[str, str] = {kind: f"{kind}.tflite" for kind in self.spec.export_formats}
        for kind, name in files.items():
            (folder / name).write_text(f"{kind} of step {self.step}")
        if "unexported" in self.script.faults.values():
            files["int8"] = "int8.tflite"
        checks = {kind: {"pictures": 6.0} for kind in files}
        self.say(protocol.ModelExported(step=self.step, path=str(folder), files=files, checks=checks))

    def fault(self, fault: str) -> None:
        """Go wrong."""
        print(f"fault {fault!r} at step {self.step}" if fault else f"step {self.step}", flush=True)
        if fault.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[fault])
        elif fault.startswith("exit:"):
            os._exit(int(fault.removeprefix("exit:")))
        elif fault.startswith("fail:"):
            self.say(protocol.RunFailed(code=fault.removeprefix("fail:"), message="It failed.", step=self.step))
            os._exit(1)
        elif fault == "garbage":
            self._out.write(b'{"type": "unheard of"}\n')
            self._out.flush()
        elif fault == "orphan":
            orphan = subprocess.Popen(["sleep", "60"], pass_fds=[self._out.fileno()])
            print(f"orphan {orphan.pid}", flush=True)
            os._exit(3)
        elif fault == "no_folder":
            self.say(protocol.CheckpointSaved(step=self.step, stepping_seconds=1, path="/nowhere", training={}))
        while (fault == "hang" and self.stops.reason is None) or fault == "deaf":
            time.sleep(0.01)


def names_in(folder: str | None) -> list[str]:
    """The names of a folder's files, sorted; none where there is no folder."""
    return sorted(path.name for path in Path(folder).iterdir()) if folder is not None else []


def main(spec_file: str, fd_in: str, fd_out: str) -> None:
    """Run the script."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.register(protocol.STACKS, all_threads=True)
    spec = msgspec.json.decode(Path(spec_file).read_bytes(), type=RunSpec)
    records = Path(os.environ["CHILD_RECORDS"])
    own = records / f"{spec.job_id}.script"
    script = msgspec.json.decode(own.read_text() if own.exists() else os.environ["CHILD_SCRIPT"], type=Script)
    record = Record(
        pid=os.getpid(),
        spec=spec,
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        secrets=[name for name in SECRETS if name in os.environ],
        resume_files=names_in(spec.resume_dir),
        init_files=names_in(spec.init_dir),
    )
    path = records / f"{spec.job_id}-a{spec.attempt}.json"
    path.with_suffix(".aside").write_bytes(msgspec.json.encode(record))
    path.with_suffix(".aside").rename(path)
    run = Run(spec, script, int(fd_out))
    threading.Thread(target=run.listen, args=(int(fd_in),), daemon=True).start()
    run.make()


if __name__ == "__main__":
    main(*sys.argv[1:])
