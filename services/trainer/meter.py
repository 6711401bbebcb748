"""How busy the trainer's accelerator is, and how much memory is in use: looked at aside, at a pace of its own.

Owns the questions to nvidia-smi and to /proc and /sys, and the last answers. Heartbeats take whatever was found last: a
driver that hangs delays none, and what it said last is soon too old to be said. What can't be measured is None.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from services.trainer.machine import Machine, group_file
from services.trainer.threads import abandonable
from shared.runtime import log
from shared.runtime.clock import Clock

METER_SECONDS = 5.0
_GOOD_SECONDS = 30.0
_QUERY = ("nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits")
_QUERY_SECONDS = 10.0
_MIB = 1 << 20
_STAT, _MEMORY = Path("/proc/stat"), Path("/proc/meminfo")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """`utilization` is the busy share, 0 to 1, since the reading before (of several GPUs the mean), `memory_used_bytes` their
    memory in use, or the machine's."""

    utilization: float | None = None
    memory_used_bytes: int | None = None


class Unmeasurable(Exception):
    """The machine doesn't tell; the text says why."""


class Meter:
    """Takes readings one after another. `measure` blocks and gives a reading or raises Unmeasurable."""

    def __init__(self, measure: Callable[[], Reading], clock: Clock) -> None:
        self._measure = measure
        self._clock = clock
        self._newest = Reading()
        self._taken = clock.monotonic()
        self._failing = False
        self._log = log.get("meter")

    def newest(self) -> Reading:
        """The last reading, unknown once it is 30 s old: a look that hangs is followed by no other."""
        return self._newest if self._clock.monotonic() - self._taken < _GOOD_SECONDS else Reading()

    async def look(self) -> None:
        """Take a reading. A failure makes it unknown; of failures in a row the first is logged."""
        try:
            self._newest = await abandonable(self._measure)
        except Unmeasurable as error:
            self._newest = Reading()
            if not self._failing:
                self._log.warning("meter.failed", error=str(error))
            self._failing = True
        else:
            self._failing = False
        self._taken = self._clock.monotonic()


def meter(machine: Machine, environ: Mapping[str, str], clock: Clock) -> Meter:
    """A meter of the GPUs that the machine's slots use, of its processors where they use none."""
    gpus = {slot.gpu for slot in machine.slots if slot.gpu is not None}
    return Meter((lambda: measure_gpus(gpus, environ)) if gpus else Processors().measure, clock)


def measure_gpus(gpus: Collection[int], environ: Mapping[str, str]) -> Reading:
    """What nvidia-smi says of `gpus` now. Raises Unmeasurable where it fails, names none of them or takes over 10 s."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True, env=dict(environ)
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise Unmeasurable(f"nvidia-smi failed: {error}") from error
    return parse_reading(answer.stdout, gpus)


def parse_reading(text: str, gpus: Collection[int]) -> Reading:
    """nvidia-smi's lines `index, percent, MiB`; a figure that isn't a number is left out. Raises Unmeasurable where none of
    `gpus` is there."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines()]
    ours = [row for row in rows if len(row) == 3 and row[0].isdigit() and int(row[0]) in gpus]
    if not ours:
        raise Unmeasurable(f"nvidia-smi lists none of the GPUs {sorted(gpus)}")
    busy = [int(row[1]) for row in ours if row[1].isdigit()]
    used = [int(row[2]) * _MIB for row in ours if row[2].isdigit()]
    return Reading(
        utilization=sum(busy) / (100 * len(busy)) if busy else None, memory_used_bytes=sum(used) if used else None
    )


class Processors:
    """The machine's processors, by the kernel's count of ticks since the reading before."""

    def __init__(self, stat: Path = _STAT, memory: Path = _MEMORY) -> None:
        self._stat = stat
        self._memory = memory
        self._before: tuple[int, int] | None = None

    def measure(self) -> Reading:
        """The first one has no share. Raises Unmeasurable where the kernel doesn't tell."""
        try:
            now = parse_ticks(self._stat.read_text())
            used = group_memory_used()
            if used is None:
                used = parse_memory_used(self._memory.read_text())
        except (OSError, ValueError, KeyError) as error:
            raise Unmeasurable(f"the kernel doesn't tell: {error!r}") from error
        before, self._before = self._before, now
        return Reading(utilization=None if before is None else busy_share(before, now), memory_used_bytes=used)


def parse_ticks(stat: str) -> tuple[int, int]:
    """(busy, all) ticks of all processors since the machine began, from /proc/stat. Raises ValueError.

    Its first line is `cpu user nice system idle iowait irq softirq steal guest …`; the guests' are in user and nice already.
    """
    name, *figures = stat.partition("\n")[0].split()
    ticks = [int(figure) for figure in figures[:8]]
    if name != "cpu" or len(ticks) < 5:
        raise ValueError(f"not the processors' line: {name!r}")
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def busy_share(before: tuple[int, int], now: tuple[int, int]) -> float | None:
    """The share of busy ticks between two readings, None where no tick went by."""
    busy, total = now[0] - before[0], now[1] - before[1]
    # The kernel's iowait may go back a little.
    return min(1.0, max(0.0, busy / total)) if total > 0 else None


def parse_memory_used(meminfo: str) -> int:
    """Bytes that programs hold, from /proc/meminfo: all but what is available. Raises KeyError or ValueError."""
    lines = (line.split() for line in meminfo.splitlines())
    kib = {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) > 1}
    return (kib["MemTotal"] - kib["MemAvailable"]) * 1024


def group_memory_used() -> int | None:
    """Bytes that our control group holds, without file pages that can go at once; None where it has no limit."""
    if not group_file("memory.max").strip().isdigit():
        return None
    stat = dict(line.split() for line in group_file("memory.stat").splitlines())
    return max(0, int(group_file("memory.current")) - int(stat.get("inactive_file", 0)))
