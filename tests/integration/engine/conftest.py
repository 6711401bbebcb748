"""One tiny training run that all tests look at, and a process that has TensorFlow.

TensorFlow is never imported into pytest's own process: it takes seconds and a gigabyte, and the `tfrecord` package, which
other tests import, brings Protocol Buffers of the same names.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import pytest

from services.trainer.protocol import RunSpec
from tests.support.child import Child
from tests.support.records import drawn_frames, write_records

P = ParamSpec("P")
R = TypeVar("R")

LABELS = ["ball", "cube"]


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    """A run of 12 steps at batch 4 on 24 drawn pictures, without pretrained weights."""
    folder = tmp_path_factory.mktemp("engine")
    return RunSpec(
        job_id="tiny",
        attempt=1,
        starting_model="ssd_mobilenet_v2_320x320",
        train_files=write_records(drawn_frames(24, seed=1), folder, "train", LABELS),
        eval_files=write_records(drawn_frames(8, seed=2), folder, "eval", LABELS),
        train_frames=24,
        eval_frames=8,
        labels=LABELS,
        batch_size=4,
        steps=12,
        checkpoint_every=6,
        max_stepping_seconds=600,
        seed=1,
        work_dir=str(folder / "first"),
        export_formats=["float16"],
        allow_download=False,
    )


@pytest.fixture(scope="session", autouse=True)
def first_child(spec: RunSpec) -> Iterator[Child]:
    """Started before the first test of this folder, so that it trains while tests run that don't need it."""
    child = Child(spec)
    yield child
    if child.process.poll() is None:
        child.process.kill()
        child.process.wait()


@pytest.fixture(scope="session")
def first_run(first_child: Child) -> Child:
    """The tiny run, at its end."""
    assert first_child.wait(200) == 0, first_child.tail()
    return first_child


@pytest.fixture
def make_spec(spec: RunSpec, tmp_path: Path) -> Callable[..., RunSpec]:
    """`spec` with a folder of its own and whatever is changed."""

    def make(**changes: object) -> RunSpec:
        return msgspec.structs.replace(spec, **({"work_dir": str(tmp_path / "work")} | changes))

    return make


class TensorFlowProcess:
    """Calls functions of `tests.support.engine_checks` in a process that has TensorFlow."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def __call__(self, check: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._executor.submit(check, *args, **kwargs).result(timeout=200)


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[TensorFlowProcess]:
    """One process for the session, ended with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield TensorFlowProcess(executor)
