"""`make demo`: the main job from end to end, by the command line that a person would type.

Starts the system where it doesn't run yet, then: sample pictures → dataset → training → model file → detections on evaluation
pictures → a one-page summary in demo-output/. Owns the order and the words; each step is the `trainyard` command's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tfrecord import example_pb2
from tfrecord.reader import tfrecord_iterator

from deploy.local.__main__ import CHECKOUT, detach
from deploy.local.settings import Ports, SettingError, Settings, read_settings
from deploy.local.stack import addresses
from shared.contract.jobs import JobState
from shared.contract.stream import MetricPoint
from shared.contract.views import DatasetView, JobView
from shared.runtime.artifacts import Artifacts

PICTURES = 3
_MAP, _MAP_50 = "DetectionBoxes_Precision/mAP", "DetectionBoxes_Precision/mAP@.50IOU"


class DemoFailed(Exception):
    """A step went wrong; what the command said is above."""


class ShownModel(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `trainyard show --json` that the summary tells."""

    model: JobView
    metrics: list[MetricPoint] = []


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs the `trainyard` command against one server."""

    environ: Mapping[str, str]
    program: Path = field(default_factory=lambda: Path(sys.executable).parent / "trainyard")

    def show(self, *arguments: str) -> None:
        """Run a command in the person's own terminal, progress bars and all."""
        print(f"\n$ trainyard {' '.join(_quoted(word) for word in arguments)}", flush=True)
        if subprocess.run([self.program, *arguments], env=self.environ, check=False).returncode:
            raise DemoFailed(f"`trainyard {arguments[0]}` failed")

    def ask(self, *arguments: str) -> bytes:
        """Run a command for its JSON."""
        answer = subprocess.run(
            [self.program, *arguments, "--json"], env=self.environ, check=False, capture_output=True
        )
        if answer.returncode:
            raise DemoFailed(f"`trainyard {arguments[0]}` failed: {answer.stderr.decode(errors='replace').strip()}")
        return answer.stdout


def main() -> int:
    """The whole demo; the exit status is for make."""
    began = time.monotonic()
    try:
        settings = read_settings(CHECKOUT, os.environ)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        steps = _steps(settings)
        print("Starting the system. Everything stays on this machine.", flush=True)
        if detach(settings):
            return 1
        run(settings, CHECKOUT / "demo-output", steps, began)
    except (SettingError, DemoFailed) as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo ends here; the system goes on. End it: make down", file=sys.stderr)
        return 130
    return 0


def run(settings: Settings, output: Path, steps: int, began: float) -> None:
    """The main job against the running system."""
    known = json.loads((settings.data / "cli.json").read_text())
    environ = {**os.environ, "TRAINYARD_URL": known["url"], "TRAINYARD_TOKEN": known["token"]}
    command = Commands(environ)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    # Unique, so that the job is found again among those of earlier demos.
    description = time.strftime("Demo %Y-%m-%d %H:%M:%S")

    command.show("sample", str(output / "sample.zip"))
    command.show("datasets", "add", str(output / "sample.zip"), "--name", description)
    added = _dataset(command, description)
    print(f"\nWatch it live in the browser, too: {settings.url}", flush=True)
    if settings.environ.get("DISPLAY") or settings.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(settings.url)
    command.show("train", "--dataset", added.id, "--steps", str(steps), "--description", description, "--yes")
    job = _job(command, description)
    shown = msgspec.json.decode(command.ask("show", job.id), type=ShownModel)
    if shown.model.state is not JobState.SUCCEEDED:
        raise DemoFailed(
            f"the job ended {shown.model.state}; see it at {settings.url} or by `trainyard show {job.id[:8]}`"
        )

    model = output / "model.tflite"
    command.show("download", job.id, "--format", "float32", "--output", str(model))
    pictures = save_pictures(_artifacts(settings), added.prefix, output)
    command.show("detect", str(model), *map(str, pictures), "--output", str(output / "detections"))
    page = output / "summary.md"
    found = sorted((output / "detections").glob("*.png"))
    page.write_text(summary(shown, [path.relative_to(output) for path in found], time.monotonic() - began))
    print(f"\n{page.read_text()}")
    print(f"All of it is in {output}/: the page above is summary.md, the model model.tflite, the pictures detections/.")
    print(f"The page with everything live: {settings.url}")
    print("The system goes on. End it: make down")


def summary(shown: ShownModel, pictures: list[Path], seconds: float) -> str:
    """The one-page summary in Markdown; `seconds` is what the whole demo took."""
    job = shown.model
    last = shown.metrics[-1].evaluation if shown.metrics else {}
    rows = [
        ("Job state", str(job.state)),
        ("Steps", f"{job.steps_completed} of {job.steps_requested}, {job.batch_size} pictures each"),
        ("mAP", _figure(last.get(_MAP))),
        ("mAP at IoU 0.50", _figure(last.get(_MAP_50))),
        ("Training time", f"{job.used_seconds} s of steps" if job.used_seconds is not None else "unknown"),
        ("The whole demo", f"{seconds:.0f} s"),
    ]
    rows += [
        (f"Model, {file.format}", f"{file.bytes / 1e6:.1f} MB") for file in (job.export.files if job.export else [])
    ]
    rows += [("Notice", notice.message) for notice in job.notices]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    shots = "\n".join(f"![Found in {path.stem}]({path.as_posix()})" for path in pictures)
    return f"# {job.description}\n\n| | |\n|---|---|\n{table}\n\n{shots}\n"


def save_pictures(artifacts: Artifacts, prefix: str, folder: Path) -> list[Path]:
    """The first evaluation pictures that show an object, as JPEG files in `folder`: pictures that no step has seen."""
    shards = artifacts.fetch(prefix, folder / "dataset")
    saved: list[Path] = []
    for record in _records(shards):
        features = record.features.feature
        if features["image/object/class/text"].bytes_list.value:
            path = folder / f"evaluation-{len(saved) + 1}.jpg"
            path.write_bytes(features["image/encoded"].bytes_list.value[0])
            saved.append(path)
        if len(saved) == PICTURES:
            break
    shutil.rmtree(folder / "dataset")
    return saved


def _records(shards: Path) -> Iterator[Any]:
    for shard in sorted(shards.glob("eval-*.tfrecord")):
        # Copied, as the reader hands out one buffer again and again; to its end, where alone it closes the file.
        for raw in list(map(bytes, tfrecord_iterator(str(shard)))):
            record = example_pb2.Example()
            record.ParseFromString(raw)
            yield record


def _artifacts(settings: Settings) -> Artifacts:
    # The artifacts' address doesn't depend on ports.
    return Artifacts(addresses(settings, Ports(0))["ARTIFACTS_URL"])


def _dataset(command: Commands, name: str) -> DatasetView:
    datasets = msgspec.json.decode(command.ask("datasets", "list"), type=dict[str, list[DatasetView]])["datasets"]
    for dataset in datasets:
        if dataset.name == name:
            return dataset
    raise DemoFailed(f"no dataset called {name!r} was found")


def _job(command: Commands, description: str) -> JobView:
    models = msgspec.json.decode(command.ask("models"), type=dict[str, list[JobView]])["models"]
    for job in models:
        if job.description == description:
            return job
    raise DemoFailed(f"no job called {description!r} was found")


def _steps(settings: Settings) -> int:
    text = settings.environ.get("DEMO_STEPS") or "300"
    if not text.isdigit():
        raise SettingError(f"DEMO_STEPS is {text!r}: it must be a number of steps")
    return int(text)


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


if __name__ == "__main__":
    sys.exit(main())
