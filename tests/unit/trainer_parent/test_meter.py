"""How busy a machine is: nvidia-smi's figures, the kernel's, and what becomes of a look that fails or hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.trainer import meter as subject
from services.trainer.machine import Machine, Slot
from services.trainer.meter import (
    Meter,
    Processors,
    Reading,
    Unmeasurable,
    busy_share,
    group_memory_used,
    measure_gpus,
    meter,
    parse_memory_used,
    parse_reading,
    parse_ticks,
)
from tests.unit.trainer_parent.test_machine import smi

MIB = 1 << 20
TWO = "0, 40, 1000\n1, 80, 3000\n"


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


class TestGpus:
    @pytest.mark.parametrize(
        ("text", "gpus", "share", "mib"),
        [
            ("0, 40, 1000\n1, 80, 3000\n", [0, 1], 0.6, 4000),
            ("0, 40, 1000\n1, 80, 3000\n", [1], 0.8, 3000),
            # What one of them doesn't tell, the others stand for.
            ("0, [N/A], 1000\n1, 80, [N/A]\n", [0, 1], 0.8, 1000),
            ("0, [N/A], [N/A]\n", [0], None, None),
            ("a warning\n0, 100, 0\n", [0], 1.0, 0),
        ],
    )
    def test_the_mean_share_and_the_sum_of_memory(
        self, text: str, gpus: list[int], share: float | None, mib: int | None
    ) -> None:
        used = None if mib is None else mib * MIB
        assert parse_reading(text, gpus) == Reading(utilization=share, memory_used_bytes=used)

    def test_none_of_ours_is_no_reading(self) -> None:
        with pytest.raises(Unmeasurable, match=r"none of the GPUs \[2\]"):
            parse_reading("0, 40, 1000\n", [2])

    def test_asks_nvidia_smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = smi(tmp_path, f"printf '{TWO}'")
        monkeypatch.setenv("PATH", environ["PATH"])
        assert measure_gpus([0, 1], environ) == Reading(utilization=0.6, memory_used_bytes=4000 * MIB)

    @pytest.mark.parametrize("script", ["echo no driver; exit 9", "exec sleep 60", None])
    def test_one_that_fails_hangs_or_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
    ) -> None:
        environ = {"PATH": str(tmp_path)} if script is None else smi(tmp_path, script)
        monkeypatch.setenv("PATH", environ["PATH"])
        monkeypatch.setattr(subject, "_QUERY_SECONDS", 0.2 if script and "sleep" in script else 20)
        with pytest.raises(Unmeasurable, match="nvidia-smi failed"):
            measure_gpus([0], environ)


class TestProcessors:
    @pytest.fixture
    def kernel(self, tmp_path: Path) -> Callable[[str], Processors]:
        """The processors of a kernel that says `stat`, and has 3 of 4 MiB left."""
        (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemFree: 10 kB\nMemAvailable: 3072 kB\nHugePages: 0\n")

        def make(stat: str) -> Processors:
            (tmp_path / "stat").write_text(stat)
            return Processors(tmp_path / "stat", tmp_path / "meminfo")

        return make

    def test_the_share_is_of_the_time_since_the_reading_before(
        self, kernel: Callable[[str], Processors], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subject, "group_memory_used", lambda: None)
        processors = kernel("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")
        assert processors.measure() == Reading(memory_used_bytes=MIB)
        kernel("cpu  160 0 120 720 100 0 0 0 50 0\n")
        assert processors.measure() == Reading(utilization=0.8, memory_used_bytes=MIB)

    @pytest.mark.parametrize("stat", ["", "cpu\n", "cpu one two three four five\n", "intr 1 2 3 4 5\n"])
    def test_a_kernel_that_says_something_else(self, kernel: Callable[[str], Processors], stat: str) -> None:
        with pytest.raises(Unmeasurable, match="the kernel doesn't tell"):
            kernel(stat).measure()

    def test_a_kernel_that_keeps_its_memory_to_itself(
        self, kernel: Callable[[str], Processors], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subject, "group_memory_used", lambda: None)
        processors = kernel("cpu  100 0 100 700 100\n")
        (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\n")
        with pytest.raises(Unmeasurable, match="MemAvailable"):
            processors.measure()

    def test_a_kernel_that_says_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(Unmeasurable, match="FileNotFoundError"):
            Processors(tmp_path / "stat", tmp_path / "meminfo").measure()

    @pytest.mark.parametrize(
        ("before", "now", "share"),
        [((10, 100), (10, 100), None), ((10, 100), (5, 110), 0.0), ((10, 100), (120, 200), 1.0)],
    )
    def test_the_share_stays_between_0_and_1(
        self, before: tuple[int, int], now: tuple[int, int], share: float | None
    ) -> None:
        assert busy_share(before, now) == share

    def test_this_machine_tells(self) -> None:
        processors = Processors()
        first, second = processors.measure(), processors.measure()
        assert first.utilization is None
        assert second.memory_used_bytes is not None
        assert second.memory_used_bytes > MIB

    def test_parsing(self) -> None:
        assert parse_ticks("cpu 1 2 3 4 5 6 7 8 9 10\n") == (1 + 2 + 3 + 6 + 7 + 8, 36)
        assert parse_memory_used("MemTotal: 10 kB\nMemAvailable: 4 kB\n") == 6 * 1024

    @pytest.mark.parametrize(
        ("files", "used"),
        [
            ({}, None),
            ({"memory.max": "max\n"}, None),
            ({"memory.max": "900\n", "memory.current": "500\n", "memory.stat": "anon 1\ninactive_file 200\n"}, 300),
            ({"memory.max": "900\n", "memory.current": "500\n"}, 500),
        ],
    )
    def test_in_a_control_group_its_own_memory_counts(
        self, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], used: int | None
    ) -> None:
        monkeypatch.setattr(subject, "group_file", lambda name: files.get(name, ""))
        assert group_memory_used() == used


class TestMeter:
    async def test_the_newest_reading_wins_until_it_is_too_old(self) -> None:
        clock, readings = HandClock(), iter([Reading(utilization=0.1), Reading(utilization=0.9)])
        made = Meter(lambda: next(readings), clock)
        assert made.newest() == Reading()
        await made.look()
        clock.seconds = 5
        await made.look()
        clock.seconds = 34
        assert made.newest().utilization == 0.9
        clock.seconds = 35
        assert made.newest() == Reading()

    async def test_failures_in_a_row_are_logged_once(self) -> None:
        answers: list[Reading | None] = [Reading(utilization=0.1), None, None, Reading(utilization=0.2), None]
        found = iter(answers)

        def measure() -> Reading:
            reading = next(found)
            if reading is None:
                raise Unmeasurable("no driver")
            return reading

        made, seen = Meter(measure, HandClock()), []
        with capture_logs() as logged:
            for _ in answers:
                await made.look()
                seen.append(made.newest().utilization)
        assert seen == [0.1, None, None, 0.2, None]
        assert [(entry["event"], entry["error"]) for entry in logged] == [("meter.failed", "no driver")] * 2

    async def test_a_look_that_hangs_holds_nobody_up(self) -> None:
        """The loop goes on while the driver hangs, and what it said last is forgotten in time."""
        let, clock = threading.Event(), HandClock()
        hangs = iter([False, True])

        def measure() -> Reading:
            if next(hangs):
                let.wait(30)
            return Reading(utilization=0.3)

        made = Meter(measure, clock)
        await made.look()
        hanging = asyncio.create_task(made.look())
        await asyncio.sleep(0)
        assert made.newest().utilization == 0.3
        clock.seconds = 31
        assert made.newest() == Reading()
        let.set()
        await hanging
        assert made.newest().utilization == 0.3

    @pytest.mark.parametrize(("gpu", "asked"), [(1, "nvidia-smi"), (None, "the kernel")])
    async def test_it_measures_what_its_slots_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: int | None, asked: str
    ) -> None:
        environ = smi(tmp_path, f"printf '{TWO}'")
        monkeypatch.setenv("PATH", environ["PATH"])
        machine = Machine(accelerator="cpu", device="d", memory_bytes=1, slots=[Slot(0, gpu, 0)])
        made = meter(machine, environ, HandClock())
        await made.look()
        assert (made.newest() == Reading(utilization=0.8, memory_used_bytes=3000 * MIB)) is (asked == "nvidia-smi")
        assert made.newest().memory_used_bytes
