"""The main job, end to end, on real pictures: import, train, lose the trainer, resume, succeed, download, run.

Uses the blood-cell pictures of BCCD where TRAINYARD_BCCD_ZIP (default: shared/data beside the checkout) has them, else
generated sample pictures. Everything is real: the stack that `make up` starts, TensorFlow, the command line, LiteRT.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from services.cli.detect import Detector
from tests.e2e.conftest import UserStack
from tests.support.stack import CHECKOUT

STEPS = 24
_RUN_SECONDS = 420

pytestmark = pytest.mark.timeout(600)


class Watcher:
    """`trainyard watch --json` in the background: what a client saw over the websocket, line by line."""

    def __init__(self, stack: UserStack, job_id: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self._seen = threading.Condition()
        self.process = subprocess.Popen(
            stack.cli_command("watch", job_id, "--json"), env=stack.environ, stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._seen:
                self.lines.append(json.loads(line))
                self._seen.notify_all()

    def first(self, kind: str, seconds: float = 180) -> dict[str, Any]:
        """The first line of that kind, now or later."""
        with self._seen:
            found = self._seen.wait_for(lambda: any(line["kind"] == kind for line in self.lines), seconds)
            assert found, f"no {kind} in {[line['kind'] for line in self.lines]}"
            return next(line for line in self.lines if line["kind"] == kind)

    def end(self) -> int:
        """Wait for the job's end; the exit status."""
        status = self.process.wait(_RUN_SECONDS)
        self._thread.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, stack: UserStack) -> Path:
    """Real pictures if they are there, else generated ones."""
    given = Path(os.environ.get("TRAINYARD_BCCD_ZIP", CHECKOUT.parent / "shared" / "data" / "bccd-voc.zip"))
    if given.exists():
        return given
    made = tmp_path_factory.mktemp("sample") / "sample.zip"
    stack.cli("sample", str(made), "--pictures", "120")
    return made


def test_import_train_lose_the_trainer_resume_succeed_download_and_run(
    stack: UserStack, archive: Path, tmp_path: Path
) -> None:
    added = stack.cli_json("datasets", "add", str(archive), "--name", "Cells")
    dataset = added["dataset"]
    pictures = dataset["train_frames"] + dataset["eval_frames"]
    assert pictures >= 120
    assert abs(dataset["eval_frames"] / pictures - 0.2) < 0.02
    submitted = stack.cli_json(
        *("train", "--dataset", dataset["id"], "--steps", str(STEPS), "--max-minutes", "10"),
        *("--description", "CellModel", "--yes"),
    )
    job_id = submitted["job"]["id"]
    watcher = Watcher(stack, job_id)

    watcher.first("metrics")
    holder = stack.cli_json("show", job_id)["model"]["trainer"]
    victim = stack.service("trainer", TRAINER_NAME=holder.rpartition("-")[0])
    family = [victim, *victim.children(recursive=True)]
    victim.kill()
    _, left = psutil.wait_procs(family, timeout=5)
    assert not left, f"the killed trainer left {left}"

    assert watcher.end() == 0
    shown = stack.cli_json("show", job_id)
    model, metrics = shown["model"], shown["metrics"]
    assert model["state"] == "SUCCEEDED"
    first, second = model["attempts"]
    assert (first["outcome"], second["outcome"]) == ("lost", "succeeded")
    assert second["trainer"] != first["trainer"]
    assert second["resumed_from"] >= 10

    # Every checkpoint is there once, with ftc-ml's metrics, and stepping time only grows.
    assert [point["step"] for point in metrics] == [10, 20, STEPS]
    assert [point["stepping_seconds"] for point in metrics] == sorted(point["stepping_seconds"] for point in metrics)
    for point in metrics:
        assert {"Loss/total_loss", "learning_rate"} <= set(point["training"])
        assert {"DetectionBoxes_Precision/mAP@.50IOU", "DetectionBoxes_Recall/AR@100"} <= set(point["evaluation"])

    # Minutes, to the second.
    used = int(model["checkpoint"]["stepping_seconds"])
    assert 0 < used < 600
    assert (model["used_seconds"], model["refunded_seconds"]) == (used, 600 - used)
    team = stack.cli_json("team")
    lines = [line for line in team["ledger"] if line["job_id"] == job_id]
    assert sum(line["seconds"] for line in lines) == -used
    assert team["team"]["balance_seconds"] == sum(line["seconds"] for line in team["ledger"])

    # Each state in turn; and what a client saw of them without a refresh. That the job waits may be over before it is shown.
    story = _turns([event["state"] for event in shown["events"]])
    assert story == ["QUEUED", "PREPARING", "RUNNING", "QUEUED", "PREPARING", "RUNNING", "SUCCEEDED"]
    seen = [line["model"]["state"] for line in watcher.lines if line["kind"] == "model"]
    expected = ["PREPARING", "RUNNING", "PREPARING", "RUNNING", "SUCCEEDED"]
    assert _turns(seen, besides="QUEUED")[-len(expected) :] == expected, seen

    target = tmp_path / "cells.tflite"
    stack.cli("download", job_id, "--format", "float32", "--output", str(target))
    detector = Detector(target)
    assert sorted(detector.labels) == sorted(label["name"] for label in dataset["labels"])
    with zipfile.ZipFile(archive) as pictures_zip:
        name = next(name for name in sorted(pictures_zip.namelist()) if name.lower().endswith((".jpg", ".png")))
        with pictures_zip.open(name) as file, Image.open(file) as image:
            found = detector.detect(image, least_score=0.0)
    assert found
    assert all(0 <= edge <= 1 for detection in found for edge in detection.box)
    assert all(detection.label in detector.labels for detection in found)


def _turns(states: list[str], besides: str = "") -> list[str]:
    """The states, those that follow themselves once; `besides` counts as a change of state and is left out."""
    turns = [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]
    return [state for state in turns if state != besides]


def test_another_start_finds_everything_again(stack: UserStack, tmp_path: Path) -> None:
    before = stack.cli_json("models")["models"]
    assert not stack.down()
    stack.start()
    after = stack.cli_json("models")["models"]
    assert [model["id"] for model in after] == [model["id"] for model in before]
    done = next(model for model in after if model["state"] == "SUCCEEDED")
    stack.cli("download", done["id"], "--output", str(tmp_path / "again.tflite"))
    Detector(tmp_path / "again.tflite")
