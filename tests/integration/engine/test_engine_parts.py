"""The engine's parts with real TensorFlow: sizes, weights, failures, and runs that end early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.engine.metrics import COCO_NAMES
from services.trainer.engine.schedule import learning_rate
from services.trainer.protocol import (
    CheckpointEvaluated,
    CheckpointSaved,
    Phase,
    RunEnded,
    RunPhase,
    RunProgressed,
    RunSpec,
    RunStarted,
    RunStopping,
)
from shared.runtime.artifacts import Artifacts
from tests.integration.engine.conftest import TensorFlowProcess
from tests.support import engine_checks, pretrained_checks
from tests.support.child import Child
from tests.support.records import REPOSITORY, drawn_frames, write_records

pytestmark = pytest.mark.timeout(240)

QUANTISED = REPOSITORY.parent / "shared/data/mobilenet_v2_1.0_224_quant.tflite"


def kinds(messages: list[object]) -> list[str]:
    """The types of all messages in order, progress and phases left out."""
    return [type(message).__name__ for message in messages if not isinstance(message, RunProgressed | RunPhase)]


def test_the_network_is_the_published_one(tensorflow: TensorFlowProcess) -> None:
    assert tensorflow(engine_checks.sizes_of_one_label_model) == {
        "map_4": 19, "map_5": 10, "map_6": 5, "map_7": 3, "map_8": 2, "map_9": 1,
        "anchors": 1917,
        "parameters": 4_648_582,
    }  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_the_optimizer_follows_the_schedule(tensorflow: TensorFlowProcess, scale: float) -> None:
    expected = [learning_rate(step, steps=30, batch_size=8, scale=scale) for step in [*range(30), 29]]
    assert tensorflow(engine_checks.rates_of_optimizer, 30, 8, scale) == pytest.approx(expected)


def test_unknown_names_are_refused_by_name(tensorflow: TensorFlowProcess) -> None:
    model, picture = tensorflow(engine_checks.unknown_names)
    assert "'yolo'" in model
    assert "ssd_mobilenet_v2_320x320" in model
    assert "(300, 200)" in picture


def test_a_file_that_loses_a_label_is_found_out(tensorflow: TensorFlowProcess) -> None:
    verdicts = tensorflow(engine_checks.verdicts_on_lost_boxes)
    assert verdicts == {"nothing": True, "one box": True, "one label": False}


class TestPretrained:
    def test_keras_weights_compute_the_same(self, tensorflow: TensorFlowProcess, tmp_path: Path) -> None:
        code, cosine = tensorflow(pretrained_checks.keras_weights_fit, tmp_path)
        assert code == "pretrained_backbone"
        # Not 1: zero padding means grey for them and the mean colour for us.
        assert cosine > 0.99

    @pytest.mark.skipif(not QUANTISED.is_file(), reason="the quantised ImageNet model isn't here")
    def test_quantised_weights_survive_calibration(self, tensorflow: TensorFlowProcess) -> None:
        cosines = tensorflow(pretrained_checks.tflite_weights_fit, QUANTISED)
        assert cosines["inference"] > 0.9999
        assert cosines["training"] > 0.9
        assert cosines["training uncalibrated"] < 0.8

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("mobilenet_v2_1.0_224_quant.tflite", b"no model"),
            ("mobilenet_v2_1.0_224_quant.tflite", b"\x10\x00\x00\x00TFL3" + b"\x00" * 8),
            ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", b"no weights"),
        ],
    )
    def test_a_damaged_file_is_named(
        self, tensorflow: TensorFlowProcess, tmp_path: Path, name: str, content: bytes
    ) -> None:
        (tmp_path / name).write_bytes(content)
        code, message = tensorflow(pretrained_checks.notice_for, tmp_path, tmp_path)
        assert code == "random_backbone"
        assert f"{name} can't be read" in message

    def test_offline_without_a_file_it_says_so(self, tensorflow: TensorFlowProcess, tmp_path: Path) -> None:
        code, message = tensorflow(pretrained_checks.notice_for, None, tmp_path, "http://127.0.0.1:9/weights")
        assert code == "random_backbone"
        assert "no ImageNet weights could be found" in message
        assert list(tmp_path.iterdir()) == []

    def test_a_download_appears_only_once_it_is_whole(self, tensorflow: TensorFlowProcess, tmp_path: Path) -> None:
        assert tensorflow(pretrained_checks.downloads, tmp_path) == {
            "whole": "abc",
            "short": "OSError, left: []",
            "slow": "OSError, left: []",
            "nobody": "OSError, left: []",
        }

    def test_a_stop_is_not_kept_waiting(self, tensorflow: TensorFlowProcess, tmp_path: Path) -> None:
        assert tensorflow(engine_checks.interrupted_starts, tmp_path) == {
            "download": "drained",
            "calibration": "drained",
            "files": "source",
            "weights": "same: True",
        }


class TestFailures:
    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("memory", "out_of_memory"),
            ("exhausted", "out_of_memory"),
            ("cuda", "out_of_memory"),
            ("operation", "internal_error"),
            ("other", "internal_error"),
            ("run", "nan_loss"),
        ],
    )
    def test_codes(self, tensorflow: TensorFlowProcess, spec: RunSpec, kind: str, code: str) -> None:
        found, message = tensorflow(engine_checks.explain_error, kind, spec)
        assert found == code
        assert message.endswith(".")

    @pytest.mark.parametrize("damage", ["cut", "label", "picture"])
    def test_bad_data_names_the_file(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path, damage: str
    ) -> None:
        file = damaged_file(tmp_path, damage, make_spec())
        spec = make_spec(train_files=[*make_spec().train_files, str(file)])
        code, message = tensorflow(engine_checks.explain_error, "operation", spec)
        assert code == "bad_data"
        assert file.name in message

    @pytest.mark.parametrize(
        ("changes", "purpose"), [({"train_frames": 0}, "train"), ({"eval_files": [], "eval_frames": 0}, "evaluate")]
    )
    def test_an_empty_pool_is_named(
        self,
        tensorflow: TensorFlowProcess,
        make_spec: Callable[..., RunSpec],
        changes: dict[str, object],
        purpose: str,
    ) -> None:
        messages, failure = tensorflow(engine_checks.run_here, make_spec(**changes))
        assert messages == []
        assert failure == ("bad_data", f"The dataset has no pictures to {purpose} on.")

    def test_a_loss_that_is_no_number_fails_the_run(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path
    ) -> None:
        """Started from a parent model, whose weights are poisoned."""
        tensorflow(engine_checks.save_poisoned_weights, make_spec(), tmp_path / "parent")
        spec = make_spec(init_dir=str(tmp_path / "parent"))
        # Without word of its headway, which a slow machine would give.
        messages, failure = tensorflow(engine_checks.run_here, spec, None, None, 1e9)
        assert messages == []
        assert failure is not None
        assert failure[0] == "nan_loss"
        assert "step 1" in failure[1]

    def test_what_is_no_number_is_never_saved(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path
    ) -> None:
        """A step may wreck the weights though its loss, that of the weights before it, is finite."""
        refused = "nan_loss: Training diverged: a weight is not a number after step 0. Checkpoints before it are good."
        found = tensorflow(engine_checks.refused_checkpoints, make_spec(), tmp_path)
        assert found == {"weight": refused, "statistic": refused, "momentum": refused, "none": "saved"}


def damaged_file(folder: Path, damage: str, spec: RunSpec) -> Path:
    """A shard that ends too early, has a label that the model doesn't know, or a picture that is none."""
    frames = list(drawn_frames(2, seed=3))
    labels = spec.labels
    if damage == "label":
        labels = ["other", *labels]
    if damage == "picture":
        frames[1] = replace(frames[1], encoded=b"no picture")
    file = Path(write_records(frames, folder, "damaged", labels, shards=1)[0])
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    return file


class TestEarlyEnds:
    def test_a_drain_saves_the_step_reached_and_nothing_more(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec]
    ) -> None:
        messages, failure = tensorflow(engine_checks.run_here, make_spec(), "drained")
        assert failure is None
        assert kinds(list(messages)) == ["Notice", "RunStarted", "RunStopping", "CheckpointSaved", "RunEnded"]
        end = messages[-1]
        assert isinstance(end, RunEnded)
        assert (end.outcome, end.step, end.stepping_seconds) == ("drained", 1, 0.0)

    def test_time_used_up_by_earlier_attempts(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], first_run: Child, tmp_path: Path
    ) -> None:
        """No step is made; what earlier attempts reached is evaluated, as nobody has done so, on pictures of nothing."""
        empty = [replace(frame, boxes=[]) for frame in drawn_frames(2, seed=4)]
        spec = make_spec(
            eval_files=write_records(empty, tmp_path, "empty", make_spec().labels, shards=3),
            eval_frames=2,
            resume_dir=str(Path(first_run.spec.work_dir) / "checkpoints" / "00000006"),
            resume_step=6,
            resume_seconds=30.0,
            resume_evaluated=False,
            keep_pictures=False,
            max_stepping_seconds=30.0,
            export_formats=[],
        )
        messages, failure = tensorflow(engine_checks.run_here, spec, headway_seconds=0.0)
        assert failure is None
        evaluated, stopping, ended = (message for message in messages if not isinstance(message, RunPhase))
        # At each look it says that it goes on, and as what.
        phases = [message.phase for message in messages if isinstance(message, RunPhase)]
        assert phases == sorted(phases, reverse=True)
        assert phases.count("preparing") > 2
        assert phases.count("evaluating") > 1
        assert isinstance(evaluated, CheckpointEvaluated)
        precisions = {name: value for name, value in evaluated.evaluation.items() if not name.startswith("Loss/")}
        assert len(precisions) == len(COCO_NAMES) + 2 * len(spec.labels)
        assert set(precisions.values()) == {-1}
        assert stopping == RunStopping(step=6, reason="time_limit")
        assert ended == RunEnded(outcome="stopped", step=6, stepping_seconds=30.0, reason="time_limit")

    @pytest.mark.parametrize(("step", "phase"), [(6, "preparing"), (6, "evaluating"), (12, "exporting")])
    def test_a_drain_ends_any_phase(
        self,
        tensorflow: TensorFlowProcess,
        make_spec: Callable[..., RunSpec],
        first_run: Child,
        step: int,
        phase: Phase,
    ) -> None:
        spec = resumed(make_spec, first_run, step, resume_evaluated=phase != "evaluating")
        messages, failure = tensorflow(engine_checks.run_here, spec, "drained", phase)
        assert failure is None
        assert [message for message in messages if not isinstance(message, RunPhase)] == [
            RunStopping(step=step, reason="drained"),
            RunEnded(outcome="drained", step=step, stepping_seconds=30.0, reason="drained"),
        ]

    def test_a_stop_once_all_steps_are_made_is_answered_and_changes_nothing(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], first_run: Child
    ) -> None:
        spec = resumed(make_spec, first_run, 12)
        messages, failure = tensorflow(engine_checks.run_here, spec, "user", "exporting")
        assert failure is None
        assert kinds(list(messages)) == ["RunStopping", "ModelExported", "RunEnded"]
        assert messages[-1] == RunEnded(outcome="succeeded", step=12, stepping_seconds=30.0, reason=None)

    def test_a_stop_before_the_first_step_of_a_later_attempt_needs_none(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], first_run: Child
    ) -> None:
        spec = resumed(make_spec, first_run, 6, export_formats=[])
        messages, failure = tensorflow(engine_checks.run_here, spec, "user", "preparing")
        assert failure is None
        assert messages == [
            RunStopping(step=6, reason="user"),
            RunEnded(outcome="stopped", step=6, stepping_seconds=30.0, reason="user"),
        ]

    def test_a_file_of_another_model_is_found_out(
        self, tensorflow: TensorFlowProcess, first_run: Child, spec: RunSpec
    ) -> None:
        path = Path(first_run.spec.work_dir) / "model" / "float16.tflite"
        assert tensorflow(engine_checks.compare_with_other_models, path, "float16", spec) == {
            "other boxes": "export_mismatch",
            "other scores": "export_mismatch",
        }

    def test_checkpoints_that_cant_be_used(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], tmp_path: Path, first_run: Child
    ) -> None:
        good = Path(first_run.spec.work_dir) / "checkpoints" / "00000006"
        found = tensorflow(engine_checks.checkpoint_errors, make_spec(), good, tmp_path / "cut")
        assert found == {
            "missing": "bad_checkpoint: The checkpoint of step 6 can't be loaded.",
            "cut": "bad_checkpoint: The checkpoint of step 6 can't be loaded.",
            "other step": "bad_checkpoint: The checkpoint of step 7 holds step 6.",
            "missing parent": "bad_checkpoint: The parent model's checkpoint can't be loaded.",
        }


def resumed(make_spec: Callable[..., RunSpec], first_run: Child, step: int, **changes: object) -> RunSpec:
    """An attempt that goes on from a checkpoint of the tiny run, which had cost 30 s."""
    folder = Path(first_run.spec.work_dir) / "checkpoints" / f"{step:08d}"
    before = {"resume_dir": str(folder), "resume_step": step, "resume_seconds": 30.0, "keep_pictures": False}
    return make_spec(**(before | changes))


class TestStarts:
    def test_a_smaller_batch_and_a_lower_rate_go_on_from_the_same_checkpoint(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], first_run: Child
    ) -> None:
        """As after a run that went out of memory, or diverged."""
        spec = resumed(
            make_spec,
            first_run,
            6,
            batch_size=2,
            learning_rate_scale=0.1,
            steps=8,
            checkpoint_every=8,
            export_formats=[],
        )
        messages, failure = tensorflow(engine_checks.run_here, spec)
        assert failure is None
        assert kinds(list(messages)) == ["RunStarted", "CheckpointSaved", "CheckpointEvaluated", "RunEnded"]
        started, progress = messages[0], [m for m in messages if isinstance(m, RunProgressed)]
        assert isinstance(started, RunStarted)
        assert (started.step, started.resumed_from) == (7, 6)
        rates = {step: learning_rate(step - 1, steps=8, batch_size=2, scale=0.1) for step in (7, 8)}
        assert {m.step: m.learning_rate for m in progress} == rates
        (saved,) = (message for message in messages if isinstance(message, CheckpointSaved))
        assert saved.training["learning_rate"] == rates[8]

    def test_a_parents_checkpoint_gives_its_weights_and_nothing_else(
        self, tensorflow: TensorFlowProcess, make_spec: Callable[..., RunSpec], first_run: Child, tmp_path: Path
    ) -> None:
        """As it is published by the parent job's trainer and fetched by the child job's."""
        artifacts = Artifacts((tmp_path / "artifacts").as_uri())
        checkpoints = Checkpoints(artifacts, "parent", 1)
        described = Checkpoint(step=6, attempt=1, stepping_seconds=1.0, saved_at=datetime(2026, 3, 1, tzinfo=UTC))
        checkpoints.save(described, Path(first_run.spec.work_dir) / "checkpoints" / "00000006")
        folder = artifacts.fetch(checkpoints.prefix(described.name), tmp_path / "cache")
        found = tensorflow(engine_checks.warm_started, make_spec(init_dir=str(folder)), folder, 6)
        assert int(str(found.pop("variables"))) > 300
        assert found == {
            "same before": False,
            "same after": True,
            "step": 0,
            "optimizer's steps": 0,
            "momentum": 0.0,
            "notices": 0,
        }
