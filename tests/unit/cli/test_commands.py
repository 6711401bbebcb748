"""Each command: its tables, its JSON, its errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from deploy.local.ports import free_ports
from services.cli.__main__ import COMMANDS, main
from services.cli.commands import local
from services.cli.commands.admin import COMMANDS as ADMIN_COMMANDS
from services.cli.detect import Detection
from shared.contract.errors import UserError
from shared.contract.jobs import JobState
from shared.contract.views import Finding, QueuePlace
from tests.support.answers import (
    MODEL_BYTES,
    dataset_view,
    finished_job,
    job_view,
    point_at,
    progress_at,
    queue_row,
    team_row,
    trainer_row,
)
from tests.support.fake_platform import FakePlatform, bad_gateway
from tests.unit.cli.conftest import Run, in_json
from tests.unit.cli.operated import OperatedPlatform

JOB, OTHER = "1" * 32, "12" * 16
DATASET = "d" * 32


def test_help_imports_no_http_client() -> None:
    code = (
        "import sys\nfrom services.cli.__main__ import main\nmain(['--help'], standalone_mode=False)\n"
        "sys.exit(sum(name in sys.modules for name in ('aiohttp', 'tenacity', 'PIL', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_of_the_overview_is_there(name: str, run: Run) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout or isinstance(command, click.Group)


@pytest.mark.parametrize("name", list(ADMIN_COMMANDS))
def test_every_admin_command_of_the_overview_is_there(name: str, run: Run) -> None:
    result = run("admin", name, "--help")
    assert result.exit_code == 0
    assert f"trainyard admin {name} [OPTIONS]" in result.stdout
    assert "--json" in result.stdout


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    result = run("trian")
    assert result.exit_code == 2
    assert "trian" in result.stderr


def test_version(run: Run) -> None:
    assert run("--version").stdout.startswith("trainyard, version 0.")


def test_add_a_dataset(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    (tmp_path / "field one.zip").write_bytes(b"PK" * 400_000)
    result = run("datasets", "add", "field one.zip", "--eval-percent", "30", "--seed", "4", "--unlabelled", "negative")
    assert result.exit_code == 0, result.output
    (asked,) = (asked for asked in platform.asked if asked.method == "POST")
    assert asked.query == {"name": "field one", "eval_percent": "30", "seed": "4", "unlabelled": "negative"}
    assert asked.body == b"PK" * 400_000
    assert asked.headers["Content-Length"] == "800000"
    assert asked.headers["Content-Type"] == "application/zip"
    assert asked.headers["Idempotency-Key"]
    assert "Read 150 pictures, 150 annotations, 475 boxes. 1 file of other kinds left aside." in result.stdout
    assert "Skipped 1 file:" in result.stdout
    assert "images/odd.gif" in result.stdout
    assert "warning: 3 boxes reached beyond" in result.stdout
    document = in_json(run, "datasets", "add", "field one.zip", "--name", "Two")
    assert document["dataset"]["name"] == "Two"
    assert document["report"]["skipped_total"] == 1


def test_an_archive_that_is_not_there_is_wrong_usage(run: Run) -> None:
    assert run("datasets", "add", "nothing.zip").exit_code == 2


def test_an_archive_that_vanishes_is_an_error(
    run: Run, platform: FakePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PK")

    def vanish(_: Path, *__: object) -> Any:
        raise PermissionError(13, "Permission denied", str(archive))

    monkeypatch.setattr(Path, "open", vanish)
    result = run("datasets", "add", str(archive))
    assert result.exit_code == 1
    assert "Permission denied. [unreadable_file, ZIP]" in result.stderr


def test_a_refused_upload_gives_the_servers_reason(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    async def refuse(_: Any) -> Any:
        raise UserError("archive_too_large", "The archive has 3 bytes; at most 2 are allowed.", "body", status=413)

    platform.instead["POST /api/datasets"] = [refuse]
    (tmp_path / "a.zip").write_bytes(b"PK" * 4_000_000)
    result = run("datasets", "add", "a.zip")
    assert result.exit_code == 1
    assert result.stderr == "error: The archive has 3 bytes; at most 2 are allowed. [archive_too_large, body]\n"


FINDINGS = [Finding(code="few_boxes", message="odd"), Finding(code="tiny_boxes", message="late")]


def test_list_and_show_datasets(platform: FakePlatform, run: Run) -> None:
    assert "no datasets yet" in run("datasets", "list").stdout
    platform.datasets = {DATASET: dataset_view(name="Evil \x1b[31m[bold]name", warnings=["odd"], findings=FINDINGS)}
    listed = run("datasets", "list").stdout
    assert "dddddddd" in listed
    assert "Evil �[31m[bold]name" in listed
    shown = run("datasets", "show", "dd").stdout
    assert "120 pictures, 12 without any object" in shown
    assert [line for line in shown.splitlines() if line.startswith("warning: ")] == ["warning: odd", "warning: late"]
    assert "148 of 640 x 480, 2 of 480 x 640" in shown
    assert "1 at 0% to 1%, 34 at 5% to 10%, 140 at 10% to 20%, 300 at 20% to 40%" in shown
    assert ["ball", "200", "90", "50", "24"] in [line.split() for line in shown.splitlines()]
    assert in_json(run, "datasets", "list")["datasets"][0]["id"] == DATASET
    told = in_json(run, "datasets", "show", "d")
    assert (told["dataset"]["train_frames"], told["statistics"]["tiny_boxes"]) == (120, 1)


def test_delete_a_dataset(platform: FakePlatform, run: Run) -> None:
    platform.datasets = {DATASET: dataset_view()}
    assert in_json(run, "datasets", "delete", "d") == {"deleted": DATASET}
    assert platform.datasets == {}


def test_check_datasets(platform: FakePlatform, run: Run) -> None:
    platform.datasets = {DATASET: dataset_view(), "e" * 32: dataset_view("e" * 32)}
    same = run("datasets", "check", "d", "e")
    assert (same.exit_code, "can be trained on together" in same.stdout) == (0, True)
    platform.compatible = False
    other = run("datasets", "check", "d", "e")
    assert other.exit_code == 1
    assert all(word in other.stdout for word in ("Old", "lacks", "ball", "has more", "“Ball” or “ball”?"))


def test_models_and_one_of_them(platform: FakePlatform, run: Run) -> None:
    assert "no models yet" in run("models").stdout
    platform.jobs = {OTHER: job_view(OTHER, state=JobState.STOP_REQUESTED), JOB: finished_job()}
    platform.points = {JOB: [point_at(step) for step in range(100, 1500, 100)]}
    listed = run("models").stdout
    assert "STOP REQUESTED" in listed
    assert "300/300" in listed
    assert "0.410" in listed
    shown = run("show", "111").stdout
    assert "… 2 earlier ones" in shown
    assert "Given to trainer-1." in shown
    document = in_json(run, "show", JOB)
    assert (len(document["metrics"]), len(document["events"])) == (14, 2)
    assert [model["id"] for model in in_json(run, "models")["models"]] == [OTHER, JOB]


def test_the_place_of_a_waiting_job(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view()}
    platform.queue = [QueuePlace(job_id=JOB, position=3)]
    assert "3rd in line" in run("show", JOB).stdout
    assert in_json(run, "show", JOB)["place"]["position"] == 3
    platform.instead["GET /api/ws"] = [bad_gateway]
    assert "in line" not in run("show", JOB).stdout


def test_detections_in_words() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    objects = [local.Found("cube", 0.9, box), local.Found("ball", 0.8, box), local.Found("cube", 0.7, box)]
    assert local._words(objects) == "cube ×2 (best 90%), ball 80%"


def test_stop_and_delete(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view(state=JobState.STOP_REQUESTED)}
    assert "STOP REQUESTED" in run("stop", "1").stdout
    assert in_json(run, "stop", "1")["job"]["id"] == JOB
    assert "Deleted Balls and cubes (11111111)." in run("delete", "1", "--yes").stdout
    assert platform.jobs == {}


def test_an_id_must_be_clear(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view(), OTHER: job_view(OTHER)}
    ambiguous = run("stop", "1")
    assert (ambiguous.exit_code, "[ambiguous_id, job]" in ambiguous.stderr) == (1, True)
    missing = run("show", "f00", "--json")
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)["error"]["code"] == "not_found"
    assert missing.stderr.startswith("error: There is no job 'f00' in your team.")


def test_session_starting_models(platform: FakePlatform, run: Run) -> None:
    assert platform.url in run("session").stdout
    assert in_json(run, "session") == {"team": "demo", "role": "mentor", "name": "tester", "url": platform.url}
    assert "8 on a CPU, 32 on a GPU" in run("starting-models", "--frames", "120").stdout
    assert platform.asked[-1].query == {"frames": "120"}
    assert in_json(run, "starting-models")["limits"]["max_steps"] == 8000


@pytest.mark.parametrize(
    "arguments",
    [
        "session", "team", "starting-models", "datasets list", "datasets show d", "datasets check d", "models",
        "show 1", "stop 1", "datasets add new.zip", "train --dataset d --description New --yes",
        "watch 2", "datasets delete d --yes", "more 2 --description New --yes", "retry 1", "approve 1", "log 1",
        "team ledger", "team members", "team add Bo", "team cap 30", "admin teams", "admin create 1", "admin queue",
        "admin grant 1 --minutes 5", "admin pause --all", "admin resume 1", "admin priority 1 5", "admin trainers",
        "admin cancel 1 --reason x --yes", "admin reconcile 1 --to FAILED", "admin drain lab", "admin capacity",
        "admin audit",
    ],
)  # fmt: skip
def test_a_newer_platform_is_understood(arguments: str, operated: OperatedPlatform, run: Run) -> None:
    platform = operated
    platform.token = operated.admin_token if arguments.startswith("admin") else operated.token
    platform.teams, platform.waiting, platform.trainers = [team_row()], [queue_row(1)], [trainer_row()]
    Path("new.zip").write_bytes(b"PK")
    platform.datasets = {DATASET: dataset_view()}
    platform.jobs = {JOB: job_view(attempt=1), "2" * 32: finished_job("2" * 32)}
    platform.points = {JOB: [point_at(100)]}
    platform.progress = {JOB: progress_at(150)}
    platform.queue = [QueuePlace(job_id=JOB, position=1)]
    platform.on_submit = lambda job: finished_job(job.id)
    platform.newer = True
    result = run("--token", platform.token, *arguments.split())
    assert result.exit_code == 0, result.output


def test_a_newer_platforms_refusal_is_understood(platform: FakePlatform, run: Run) -> None:
    platform.newer = True
    refused = run("datasets", "delete", "f", "--yes")
    assert "[not_found]" in refused.stderr


def test_download(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    platform.jobs = {JOB: finished_job()}
    assert run("download", "1").exit_code == 0
    # The server's name has a folder in it; only the name counts.
    assert (tmp_path / "Balls and cubes-float32.tflite").read_bytes() == MODEL_BYTES
    document = in_json(run, "download", "1", "--format", "float16", "--output", "m.tflite")
    assert (document["path"], document["bytes"]) == ("m.tflite", len(MODEL_BYTES))
    (tmp_path / "folder").mkdir()
    run("download", "1", "-o", "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["Balls and cubes-float32.tflite"]


def test_a_damaged_download_leaves_the_old_file(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    platform.jobs = {JOB: finished_job()}
    platform.download_bytes = MODEL_BYTES[:-1] + b"x"
    (tmp_path / "m.tflite").write_bytes(b"old")
    result = run("download", "1", "-o", "m.tflite")
    assert (result.exit_code, "[corrupt_download]" in result.stderr) == (1, True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("m.tflite", b"old")]


def test_downloads_that_cannot_be(platform: FakePlatform, run: Run) -> None:
    platform.jobs = {JOB: job_view(), OTHER: finished_job(OTHER)}
    assert "[no_export]" in run("download", JOB).stderr
    assert "[cannot_write, --output]" in run("download", OTHER, "-o", "no/such/folder/m.tflite").stderr


def test_sample(run: Run, tmp_path: Path) -> None:
    document = in_json(run, "sample", "s.zip", "--pictures", "2")
    assert (document["pictures"], document["path"]) == (2, "s.zip")
    assert document["bytes"] == (tmp_path / "s.zip").stat().st_size
    assert "[cannot_write, OUT.zip]" in run("sample", "no/such/s.zip", "--pictures", "1").stderr


def test_where_the_server_is_not(run: Run) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = run("--url", url, "models")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: Nothing answers at {url}")
    assert "make up" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_token(run: Run) -> None:
    result = run("--token", "nonsense", "models")
    assert (result.exit_code, "[unauthorized" in result.stderr) == (1, True)


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupt)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        result = run("models")
    assert result.exit_code == 130


class Finder:
    """Finds the same on every picture: a real model takes minutes to make, and has tests of its own."""

    labels = ("ball",)

    def detect(self, image: Image.Image, *, least_score: float) -> list[Detection]:
        assert image.mode == "RGB"
        return [Detection("ball", 0.875, (0.1, 0.1, 0.5, 0.5))] if least_score <= 0.875 else []


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("L", (64, 48)).save(tmp_path / folder / "one.jpg")
    (tmp_path / "m.tflite").write_bytes(b"no model")
    return ["a/one.jpg", "b/one.jpg"]


def test_detect(run: Run, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_load", lambda _: Finder())
    document = in_json(run, "detect", "m.tflite", *pictures, "--output", "out/here")
    assert [item["annotated"] for item in document["pictures"]] == ["out/here/one.png", "out/here/one-2.png"]
    assert document["pictures"][0]["objects"] == [{"label": "ball", "score": 0.875, "box": [0.1, 0.1, 0.5, 0.5]}]
    with Image.open(tmp_path / "out/here/one.png") as annotated:
        assert annotated.size == (64, 48)
    assert "one.png  ball 88%" in run("detect", "m.tflite", *pictures).stdout
    assert "nothing found" in run("detect", "m.tflite", *pictures, "--threshold", "0.9").stdout


def test_detect_says_what_is_wrong(
    run: Run, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "[bad_model, MODEL.tflite]" in run("detect", "m.tflite", *pictures).stderr
    monkeypatch.setattr(local, "_load", lambda _: Finder())
    assert "[bad_picture, IMAGE]" in run("detect", "m.tflite", "m.tflite").stderr
    (tmp_path / "file").touch()
    assert "[cannot_write, --output]" in run("detect", "m.tflite", *pictures, "-o", "file/x").stderr


def test_detect_without_litert_says_what_to_install(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "services.cli.detect", None)
    assert "[not_installed]" in run("detect", "m.tflite", *pictures).stderr
