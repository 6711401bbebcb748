"""The trainer as a process: real broker, real artifact store, a real child that speaks the protocol by a script."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import pytest_asyncio

from services.trainer.protocol import DatasetName
from shared.contract.events import (
    HeldJob,
    ModelExported,
    TrainerGone,
    TrainingAccepted,
    TrainingCheckpointed,
    TrainingEnded,
    TrainingNoticed,
    TrainingProgressed,
    TrainingStarted,
    TrainingStopping,
)
from shared.contract.views import PredictionsView
from shared.runtime.artifacts import Artifacts
from tests.support.broker import Broker
from tests.support.trainer import (
    HEARTBEAT_SECONDS,
    Desk,
    Trainer,
    alive,
    assign,
    desk,
    gone,
    name_of,
    put_checkpoint,
    put_dataset,
    running,
    stop,
)

pytestmark = pytest.mark.timeout(90)
Start = Callable[..., Trainer]
# Stepping of these runs goes on until somebody ends it.
ENDLESS = {"steps": 100_000, "checkpoint_every": 50_000}


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """The store of the test's trainers, with the dataset in it."""
    made = Artifacts((tmp_path / "artifacts").as_uri())
    put_dataset(made, tmp_path / "aside")
    return made


@pytest_asyncio.fixture
async def scheduler(amqp_url: str) -> AsyncIterator[Desk]:
    async with desk(amqp_url) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path, amqp_url: str, artifacts: Artifacts) -> Iterator[Start]:
    """Starts trainers that are gone after the test; their log is shown where it fails."""
    started: list[Trainer] = []

    def begin(*, script: dict[str, object] | None = None, url: str = amqp_url, **environment: str) -> Trainer:
        trainer = Trainer(tmp_path, url, CHILD_SCRIPT=json.dumps(script or {}), **environment)
        started.append(trainer)
        return trainer

    yield begin
    for trainer in started:
        trainer.close()
        print(trainer.log.read_text())


def port_of(trainer: Trainer) -> int:
    """The port that the trainer chose, from its log."""
    lines = (json.loads(line) for line in trainer.log.read_text().splitlines() if '"service.ready"' in line)
    return int(next(lines)["port"])


def get(trainer: Trainer, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port_of(trainer)}{path}", timeout=5) as response:
        return str(response.read().decode())


async def test_trains_from_assignment_to_model_and_tells_it_in_order(
    scheduler: Desk, start: Start, artifacts: Artifacts
) -> None:
    trainer = start(script={"maps": {"5": 0.4, "10": 0.3}}, PRETRAINED_DIR="", SLOTS="", TRAINER_LABELS="pool=lab")
    # It takes jobs once it knows that commands reach it.
    first = await scheduler.heartbeat(lambda beat: not beat.draining)
    assert first.trainer.startswith("test-box-")
    assert (first.slots, first.accelerator, first.held, first.draining) == (1, "cpu", [], False)
    assert first.memory_bytes > 1 << 28
    assert "cores" in first.device
    assert first.labels == {"pool": "lab"}
    busy = await scheduler.heartbeat(lambda beat: beat.utilization is not None)
    assert busy.utilization is not None
    assert 0 <= busy.utilization <= 1
    assert busy.memory_used_bytes is not None
    assert busy.memory_used_bytes > 1 << 20

    await scheduler.send(first.trainer, assign(), job="j1", attempt=1)
    ended = await scheduler.fact(TrainingEnded)
    assert scheduler.kinds("j1") == [
        "TrainingAccepted",
        "TrainingStarted",
        "TrainingCheckpointed",
        "TrainingCheckpointed",
        "ModelExported",
        "TrainingEnded",
    ]
    assert (ended.outcome, ended.step, ended.checkpoint_step, ended.stepping_seconds) == ("succeeded", 10, 10, 1.0)
    assert ended.reason is None
    assert ended.log_tail == []

    started = await scheduler.fact(TrainingStarted)
    assert (started.trainer, started.step, started.resumed_from) == (first.trainer, 1, 0)
    five, ten = (fact for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed))
    assert (five.step, five.best, five.stepping_seconds) == (5, True, 0.5)
    assert five.prefix == "jobs/j1/checkpoints/00000005-a1"
    assert five.training == {"Loss/total_loss": 0.2}
    assert five.evaluation == {"DetectionBoxes_Precision/mAP": 0.4}
    assert (ten.step, ten.best) == (10, False)
    for fact in (five, ten):
        prefix = f"jobs/j1/predictions/{fact.step:08d}-a1"
        assert fact.predictions == PredictionsView(prefix=prefix, pictures="jobs/j1/pictures-a1")
        assert b"".join(artifacts.chunks(prefix, "content")) == b"predictions of step %d" % fact.step
    # The best and the latest are what is kept, and both are what was announced.
    assert artifacts.folders("jobs/j1/checkpoints") == ["00000005-a1", "00000010-a1"]

    model = await scheduler.fact(ModelExported)
    assert model.prefix == "jobs/j1/model-a1"
    assert [file.format for file in model.files] == ["float32", "float16"]
    manifest = artifacts.manifest(model.prefix)
    for file in model.files:
        kept = manifest.file(file.name)
        assert kept is not None
        assert (kept.bytes, kept.sha256) == (file.bytes, file.sha256)
    assert model.checks == {"float32": {"pictures": 6.0}, "float16": {"pictures": 6.0}}

    facts = [e for e in scheduler.heard if e.job_id == "j1"]
    assert {(e.team, e.attempt, e.source, e.correlation_id) for e in facts} == {("demo", 1, first.trainer, "c1")}
    assert any(isinstance(e.body, TrainingProgressed) for e in facts)

    record = trainer.record("j1")
    assert record is not None
    assert record.visible_devices == ""
    assert record.secrets == []
    spec = record.spec
    assert (spec.train_frames, spec.eval_frames, spec.resume_dir, spec.resume_evaluated) == (8, 2, None, True)
    assert [Path(path).name for path in spec.train_files] == ["train-00000-of-00001.tfrecord"]
    assert (spec.eval_datasets, spec.keep_pictures) == ([DatasetName("d1", "Field")], True)
    await scheduler.heartbeat(lambda beat: beat.held == [])
    assert not (trainer.work_dir / "jobs" / "j1-a1").exists()
    assert (trainer.work_dir / "cache" / "datasets" / "d1").is_dir()

    assert json.loads(get(trainer, "/readyz")) == {"status": "ready"}
    assert 'trainyard_trainer_attempts_total{outcome="succeeded"} 1.0' in get(trainer, "/metrics")


async def test_a_stop_ends_with_a_checkpoint_and_a_model(scheduler: Desk, start: Start, artifacts: Artifacts) -> None:
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=1)
    await running(scheduler, trainer)
    await scheduler.send(name, stop(), job="j1", attempt=1)
    ended = await scheduler.fact(TrainingEnded)
    assert scheduler.kinds("j1")[2:] == ["TrainingStopping", "TrainingCheckpointed", "ModelExported", "TrainingEnded"]
    stopping = await scheduler.fact(TrainingStopping)
    assert stopping.reason == "user"
    assert ended.outcome == "stopped"
    assert ended.reason is not None
    assert ended.reason.code == "user"
    assert ended.step == ended.checkpoint_step == stopping.step
    assert artifacts.folders("jobs/j1/checkpoints") == [f"{ended.step:08d}-a1"]


async def test_a_stop_while_data_is_fetched_ends_at_once(scheduler: Desk, start: Start, tmp_path: Path) -> None:
    # A manifest that is a pipe: whoever reads it waits for ever.
    manifest = tmp_path / "artifacts/datasets/d1/manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(), job="j1", attempt=1)
    await scheduler.fact(TrainingAccepted)
    await scheduler.send(name, stop(), job="j1", attempt=1)
    ended = await scheduler.fact(TrainingEnded, seconds=5)
    assert (ended.outcome, ended.step, ended.checkpoint_step, ended.stepping_seconds) == ("stopped", 0, 0, 0.0)
    assert trainer.record("j1") is None
    trainer.tell(signal.SIGTERM)
    assert await trainer.exit(5) == 0


async def test_a_stop_before_the_first_step_reaches_the_child(scheduler: Desk, start: Start) -> None:
    trainer = start(script={"slow_start": 1.5})
    name = await name_of(scheduler)
    await scheduler.send(name, assign(), job="j1", attempt=1)
    await scheduler.until(lambda: trainer.record("j1"), "child")
    await scheduler.send(name, stop(), job="j1", attempt=1)
    ended = await scheduler.fact(TrainingEnded)
    assert (ended.outcome, ended.step) == ("stopped", 0)
    assert scheduler.kinds("j1") == ["TrainingAccepted", "TrainingEnded"]


async def test_a_release_kills_the_child_and_says_nothing(scheduler: Desk, start: Start) -> None:
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=1)
    pid = await running(scheduler, trainer)
    await scheduler.send(name, stop("release"), job="j1", attempt=1)
    await gone(scheduler, pid)
    await scheduler.heartbeat(lambda beat: beat.held == [])
    said = len([e for e in scheduler.heard if e.job_id == "j1"])
    # What was released here never begins again, however often it is assigned; the next attempt does.
    await scheduler.send(name, assign(), job="j1", attempt=1)
    await scheduler.send(name, stop(), job="j1", attempt=1)
    await scheduler.heartbeat(lambda beat: True)
    assert len([e for e in scheduler.heard if e.job_id == "j1"]) == said
    await scheduler.send(name, assign(), job="j1", attempt=2)
    assert (await scheduler.fact(TrainingEnded)).outcome == "succeeded"
    assert scheduler.about("j1", 1)[-1] == scheduler.about("j1", 1)[1]
    assert len(scheduler.about("j1", 2)) == 6


async def test_an_assignment_that_comes_twice_is_accepted_twice_and_run_once(scheduler: Desk, start: Start) -> None:
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=2)
    pid = await running(scheduler, trainer, attempt=2)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=2)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=1)
    await scheduler.fact(TrainingAccepted, count=2)
    assert alive(pid)
    # A newer attempt takes the place of an older one, which is silent from then on.
    await scheduler.send(name, assign(), job="j1", attempt=3)
    await scheduler.fact(TrainingEnded)
    assert not alive(pid)
    assert [type(fact).__name__ for fact in scheduler.about("j1", 2)] == [
        "TrainingAccepted",
        "TrainingStarted",
        "TrainingAccepted",
    ]
    assert scheduler.about("j1", 1) == []


async def test_without_a_free_slot_a_job_is_handed_back(scheduler: Desk, start: Start) -> None:
    trainer = start(SLOTS="2")
    name = await name_of(scheduler)
    for job in ("j1", "j2", "j3"):
        await scheduler.send(name, assign(**ENDLESS), job=job, attempt=1)
    ended = await scheduler.fact(TrainingEnded)
    (held_back,) = (e.job_id for e in scheduler.heard if isinstance(e.body, TrainingEnded))
    assert ended.outcome == "drained"
    assert ended.reason is not None
    assert ended.reason.code == "no_slot"
    others = sorted({"j1", "j2", "j3"} - {held_back})
    beat = await scheduler.heartbeat(lambda beat: len(beat.held) == 2)
    assert sorted(job.job_id for job in beat.held) == others
    for job in others:
        await running(scheduler, trainer, job)
        record = trainer.record(job)
        assert record is not None
        assert record.spec.threads == max(1, (os.cpu_count() or 1) // 2)


async def test_sigterm_saves_a_final_checkpoint_and_says_goodbye(
    scheduler: Desk, start: Start, artifacts: Artifacts
) -> None:
    trainer = start(script={"faults": {"30": "hang"}})
    name = await name_of(scheduler)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=1)
    pid = await running(scheduler, trainer)
    trainer.tell(signal.SIGTERM)
    await scheduler.heartbeat(lambda beat: beat.draining)
    await scheduler.fact(TrainerGone)
    assert await trainer.exit() == 0
    assert not alive(pid)
    assert scheduler.kinds("j1")[2:] == ["TrainingStopping", "TrainingCheckpointed", "TrainingEnded"]
    ended = await scheduler.fact(TrainingEnded)
    checkpoint = await scheduler.fact(TrainingCheckpointed)
    assert ended.outcome == "drained"
    assert (checkpoint.evaluation, checkpoint.best) == ({}, False)
    assert ended.checkpoint_step == checkpoint.step > 0
    assert artifacts.folders("jobs/j1/checkpoints") == [f"{checkpoint.step:08d}-a1"]
    assert type(scheduler.heard[-1].body).__name__ == "TrainerGone"


async def test_a_child_that_is_deaf_to_the_drain_is_killed_at_its_deadline(scheduler: Desk, start: Start) -> None:
    trainer = start(script={"faults": {"7": "deaf"}}, DRAIN_SECONDS="1.5")
    name = await name_of(scheduler)
    await scheduler.send(name, assign(steps=20), job="j1", attempt=1)
    pid = await running(scheduler, trainer)
    await scheduler.fact(TrainingCheckpointed)
    trainer.tell(signal.SIGTERM)
    await scheduler.send(name, assign(), job="j2", attempt=1)
    ended = await scheduler.fact(TrainingEnded, job="j1")
    assert (ended.outcome, ended.checkpoint_step, ended.stepping_seconds) == ("drained", 5, 0.5)
    refused = await scheduler.fact(TrainingEnded, job="j2")
    assert refused.reason is not None
    assert refused.reason.code == "no_slot"
    assert await trainer.exit() == 0
    assert not alive(pid)


async def test_a_child_that_fails_is_told_with_a_reason_and_its_log(scheduler: Desk, start: Start) -> None:
    trainer = start()
    name = await name_of(scheduler)
    for number, (fault, code, checkpoint_step) in enumerate(
        [
            ("SIGKILL", "out_of_memory", 5),
            ("SIGSEGV", "child_crashed", 5),
            ("exit:3", "child_crashed", 5),
            ("fail:nan_loss", "nan_loss", 5),
            ("garbage", "child_crashed", 5),
            ("no_folder", "child_crashed", 5),
            ("unexported", "child_crashed", 10),
            ("die_evaluating", "child_crashed", 5),
        ]
    ):
        job = f"j{number}"
        trainer.script(job, {"faults": {"5" if fault == "die_evaluating" else "7": fault}})
        await scheduler.send(name, assign(), job=job, attempt=1)
        ended = await scheduler.fact(TrainingEnded, job=job)
        assert ended.reason is not None
        assert (ended.outcome, ended.reason.code, ended.checkpoint_step) == ("failed", code, checkpoint_step), fault
        assert ended.stepping_seconds == checkpoint_step / 10
        assert ended.reason.remedy
        assert any(f"fault {fault!r}" in line for line in ended.log_tail)
        # Durable steps are announced, evaluated or not.
        told = await scheduler.fact(TrainingCheckpointed, job=job)
        assert bool(told.evaluation) == (fault != "die_evaluating")
        record = trainer.record(job)
        assert record is not None
        assert not alive(record.pid)
    # The trainer itself is well and takes the next job.
    await scheduler.send(name, assign(), job="well", attempt=1)
    assert (await scheduler.fact(TrainingEnded, job="well")).outcome == "succeeded"


async def test_a_dataset_that_is_damaged_or_short_fails_the_job(
    scheduler: Desk, start: Start, tmp_path: Path, artifacts: Artifacts
) -> None:
    start()
    name = await name_of(scheduler)
    (tmp_path / "artifacts/datasets/d1/eval-00000-of-00001.tfrecord").write_bytes(b"other")
    await scheduler.send(name, assign(), job="j1", attempt=1)
    ended = await scheduler.fact(TrainingEnded, job="j1")
    assert ended.reason is not None
    assert (ended.outcome, ended.reason.code) == ("failed", "bad_dataset")
    assert "'Field'" in ended.reason.message
    artifacts.delete("datasets/d1")
    (tmp_path / "empty").mkdir()
    artifacts.publish("datasets/d1", tmp_path / "empty")
    await scheduler.send(name, assign(), job="j2", attempt=1)
    ended = await scheduler.fact(TrainingEnded, job="j2")
    assert ended.reason is not None
    assert "8 train frames" in ended.reason.message
    # A parent model that isn't there is no better.
    await scheduler.send(name, assign(datasets=[], init_prefix="jobs/no/checkpoints/1"), job="j3", attempt=1)
    ended = await scheduler.fact(TrainingEnded, job="j3")
    assert ended.reason is not None
    assert ended.reason.code == "bad_checkpoint"


async def test_resumes_from_the_newest_checkpoint_that_is_whole(
    scheduler: Desk, start: Start, artifacts: Artifacts, tmp_path: Path
) -> None:
    for step, attempt, value in ((2, 1, 0.9), (4, 1, 0.2), (6, 1, 0.95), (8, 2, None)):
        put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=step, attempt=attempt, map=value)
    store = tmp_path / "artifacts/jobs/j1/checkpoints"
    (store / "00000008-a2" / "ckpt.index").write_text("something else")
    (store / "00000006-a1" / "manifest.json").write_text("{}")
    trainer = start(script={"maps": {"5": 0.5, "10": 0.91}})
    await scheduler.send(await name_of(scheduler), assign(known_step=8), job="j1", attempt=3)
    ended = await scheduler.fact(TrainingEnded)
    notices = [fact.notice for fact in scheduler.about("j1") if isinstance(fact, TrainingNoticed)]
    assert [notice.code for notice in notices] == ["checkpoint_corrupt", "checkpoint_corrupt"]
    assert "step 8" in notices[0].message
    started = await scheduler.fact(TrainingStarted)
    assert (started.step, started.resumed_from, started.resumed_seconds) == (5, 4, 0.4)
    record = trainer.record("j1", 3)
    assert record is not None
    assert (record.spec.resume_step, record.spec.resume_seconds, record.spec.resume_evaluated) == (4, 0.4, True)
    assert record.resume_files == ["ckpt.index"]
    five, ten = (fact for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed))
    # Better than .5 was step 2 of an earlier attempt; what can't be read counts for nothing.
    assert (five.best, ten.best) == (False, True)
    assert (ended.step, ended.stepping_seconds) == (10, 1.0)
    assert artifacts.folders("jobs/j1/checkpoints") == ["00000010-a3"]
    assert artifacts.folders("jobs/j1/evaluations") == ["00000010-a3"]


async def test_what_the_scheduler_has_not_heard_of_is_announced_first(
    scheduler: Desk, start: Start, artifacts: Artifacts, tmp_path: Path
) -> None:
    """A trainer that died between saving and telling: its steps are known before the next one makes any."""
    put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=5, map=0.3)
    put_checkpoint(artifacts, tmp_path / "aside", job="j1", step=8)
    start(script={"maps": {"8": 0.2}})
    await scheduler.send(await name_of(scheduler), assign(known_step=5), job="j1", attempt=2)
    await scheduler.fact(TrainingEnded)
    first, evaluated, last = (fact for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed))
    assert (first.step, first.evaluation, first.prefix) == (8, {}, "jobs/j1/checkpoints/00000008-a1")
    assert (evaluated.step, evaluated.evaluation, evaluated.best) == (8, {"DetectionBoxes_Precision/mAP": 0.2}, False)
    assert last.step == 10
    assert scheduler.kinds("j1")[:3] == ["TrainingAccepted", "TrainingCheckpointed", "TrainingCheckpointed"]
    assert artifacts.folders("jobs/j1/checkpoints") == ["00000005-a1", "00000010-a2"]


async def test_an_attempt_after_a_kill_adds_to_what_was_kept(
    scheduler: Desk, start: Start, artifacts: Artifacts
) -> None:
    trainer = start()
    name = await name_of(scheduler)
    trainer.script("j1", {"faults": {"7": "SIGKILL"}})
    await scheduler.send(name, assign(), job="j1", attempt=1)
    assert (await scheduler.fact(TrainingEnded)).outcome == "failed"
    trainer.script("j1", {})
    await scheduler.send(name, assign(known_step=5), job="j1", attempt=2)
    assert (await scheduler.fact(TrainingEnded, count=2)).outcome == "succeeded"
    record = trainer.record("j1", 2)
    assert record is not None
    assert not record.spec.keep_pictures
    facts = [fact for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed)]
    assert [(fact.step, fact.predictions) for fact in facts] == [
        (step, PredictionsView(prefix=f"jobs/j1/predictions/{folder}", pictures="jobs/j1/pictures-a1"))
        for step, folder in ((5, "00000005-a1"), (10, "00000010-a2"))
    ]
    assert artifacts.folders("jobs/j1/predictions") == ["00000005-a1", "00000010-a2"]
    assert artifacts.folders("jobs/j1") == ["model-a2", "pictures-a1"]
    assert b"".join(artifacts.chunks("jobs/j1/pictures-a1", "content")) == b"pictures of attempt 1"
    # What deletes a job deletes its folder.
    artifacts.delete("jobs/j1")
    assert artifacts.folders("jobs") == artifacts.folders("jobs/j1/predictions") == []


async def test_only_the_latest_and_the_best_checkpoint_are_kept(
    scheduler: Desk, start: Start, artifacts: Artifacts
) -> None:
    maps = {"5": 0.1, "10": 0.4, "15": 0.3, "20": 0.35, "25": 0.2}
    start(script={"maps": maps})
    await scheduler.send(await name_of(scheduler), assign(steps=25), job="j1", attempt=1)
    await scheduler.fact(TrainingEnded)
    facts = [fact for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed)]
    assert [(fact.step, fact.best) for fact in facts] == [(5, True), (10, True), (15, False), (20, False), (25, False)]
    assert artifacts.folders("jobs/j1/checkpoints") == ["00000010-a1", "00000025-a1"]
    assert artifacts.folders("jobs/j1/evaluations") == ["00000010-a1", "00000025-a1"]


async def test_a_trainer_that_slept_through_its_lease_does_no_harm(
    scheduler: Desk, start: Start, artifacts: Artifacts
) -> None:
    trainer = start(script={"step_seconds": 0.1})
    name = await name_of(scheduler)
    await scheduler.send(name, assign(steps=1000, lease_seconds=2.0), job="j1", attempt=1)
    pid = await running(scheduler, trainer)
    trainer.tell(signal.SIGSTOP)
    await asyncio.sleep(3)
    assert alive(pid)
    said, kept = len([e for e in scheduler.heard if e.job_id == "j1"]), artifacts.folders("jobs/j1/checkpoints")
    trainer.tell(signal.SIGCONT)
    await gone(scheduler, pid, seconds=2)
    await scheduler.heartbeat(lambda beat: beat.held == [])
    await asyncio.sleep(2 * HEARTBEAT_SECONDS)
    late = [e.body for e in scheduler.heard if e.job_id == "j1"][said:]
    # What left for the broker before the pause may be read after it, no more.
    assert late == [] or all(isinstance(body, TrainingProgressed) for body in late[:1])
    assert len(late) <= 1
    assert artifacts.folders("jobs/j1/checkpoints") == kept
    assert 'outcome="fenced"} 1.0' in get(trainer, "/metrics")


async def test_a_lease_lost_with_the_broker_ends_the_child_in_silence(
    private_rabbitmq: Broker, start: Start, artifacts: Artifacts
) -> None:
    async with desk(private_rabbitmq.url) as scheduler:
        trainer = start(script={"step_seconds": 0.05}, url=private_rabbitmq.url)
        name = await name_of(scheduler)
        await scheduler.send(name, assign(steps=100_000, checkpoint_every=10, lease_seconds=3.0), job="j1", attempt=1)
        pid = await running(scheduler, trainer)
        await scheduler.fact(TrainingCheckpointed, count=2)
        await asyncio.to_thread(private_rabbitmq.stop_node)
        said = len([e for e in scheduler.heard if e.job_id == "j1"])
        await gone(scheduler, pid, seconds=3.0 + HEARTBEAT_SECONDS + 1)
        kept = artifacts.folders("jobs/j1/checkpoints")
        await asyncio.to_thread(private_rabbitmq.start)
        beat = await scheduler.heartbeat(lambda beat: True)
        assert (beat.trainer, beat.held) == (name, [])
        await asyncio.sleep(1)
        # The broker itself may have kept one that it had taken before its end.
        assert len([e for e in scheduler.heard if e.job_id == "j1"]) - said <= 1
        assert artifacts.folders("jobs/j1/checkpoints") == kept
        # It goes on with the next attempt, from what was durable.
        await scheduler.send(name, assign(steps=5, known_step=5), job="j2", attempt=1)
        await scheduler.fact(TrainingEnded, job="j2", seconds=30)


async def test_a_short_outage_of_the_broker_costs_no_step_and_no_fact(private_rabbitmq: Broker, start: Start) -> None:
    async with desk(private_rabbitmq.url) as scheduler:
        trainer = start(script={"step_seconds": 0.05}, url=private_rabbitmq.url)
        name = await name_of(scheduler)
        await scheduler.send(name, assign(steps=200, checkpoint_every=20, lease_seconds=60.0), job="j1", attempt=1)
        await running(scheduler, trainer)
        await scheduler.fact(TrainingCheckpointed)
        await asyncio.to_thread(private_rabbitmq.restart)
        ended = await scheduler.fact(TrainingEnded, seconds=45)
        assert (ended.outcome, ended.step) == ("succeeded", 200)
        steps = [fact.step for fact in scheduler.about("j1") if isinstance(fact, TrainingCheckpointed)]
        # In order and none left out; one that was confirmed into a dying connection may come twice.
        assert sorted(set(steps)) == list(range(20, 201, 20))
        assert steps == sorted(steps)


async def test_heartbeats_name_the_held_jobs_whose_children_die_with_the_trainer(scheduler: Desk, start: Start) -> None:
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(**ENDLESS), job="j1", attempt=4)
    beat = await scheduler.heartbeat(lambda beat: bool(beat.held), seconds=5)
    assert beat.held == [HeldJob(job_id="j1", attempt=4)]
    record = await scheduler.until(lambda: trainer.record("j1", 4), "child")
    trainer.tell(signal.SIGKILL)
    await gone(scheduler, record.pid)


async def test_a_second_trainer_in_the_same_folder_ends_with_a_clear_line(scheduler: Desk, start: Start) -> None:
    start()
    await name_of(scheduler)
    second = start()
    assert await second.exit() == 1
    assert "is in use by another trainer" in second.log.read_text()


async def test_what_a_dead_trainer_left_is_cleared_away(scheduler: Desk, start: Start, tmp_path: Path) -> None:
    leftovers = [tmp_path / "work/jobs/j0-a1/spec.json", tmp_path / "work/cache/datasets/d0/.aside-1"]
    for path in leftovers:
        path.parent.mkdir(parents=True)
        path.write_text("old")
    start()
    await name_of(scheduler)
    assert not any(path.exists() for path in leftovers)


async def test_commands_about_nothing_here_harm_nothing(scheduler: Desk, start: Start) -> None:
    trainer = start()
    name = await name_of(scheduler)
    await scheduler.send(name, assign(), job="../../etc", attempt=1)
    for reason in ("user", "release"):
        await scheduler.send(name, stop(reason), job="unheard-of", attempt=1)
    counted = {
        f'{{outcome="dead",queue="trainer.{name}",type="job.assign.v1"}} 1.0',
        f'{{outcome="stale",queue="trainer.{name}",type="job.stop.v2"}} 2.0',
    }
    await scheduler.until(
        lambda: all(line in get(trainer, "/metrics") for line in counted) or None, "buried and stale commands"
    )
    assert scheduler.kinds() == []
