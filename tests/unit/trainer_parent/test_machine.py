"""What a trainer says about its machine: nvidia-smi's answers, TensorFlow's, slots, memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.trainer import machine
from services.trainer.machine import Gpu, Slot, machine_memory, memory_kills, parse_gpus, slot_memory, survey, visible

TWO = "0, NVIDIA L4, 23034\n1, NVIDIA L4, 23034\n"
MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("", []),
        (TWO, [Gpu(0, "NVIDIA L4", 23034 * MIB), Gpu(1, "NVIDIA L4", 23034 * MIB)]),
        ("0, NVIDIA GB10, [N/A]\n", [Gpu(0, "NVIDIA GB10", 0)]),
        ("No devices were found\n", []),
    ],
)
def test_reads_nvidia_smi(text: str, gpus: list[Gpu]) -> None:
    assert parse_gpus(text) == gpus


@pytest.mark.parametrize(("limit", "left"), [(None, [0, 1]), ("1", [1]), ("0, 1", [0, 1]), ("", []), ("-1", [])])
def test_leaves_out_what_cuda_visible_devices_hides(limit: str | None, left: list[int]) -> None:
    assert [gpu.index for gpu in visible(parse_gpus(TWO), limit)] == left


def smi(folder: Path, script: str) -> dict[str, str]:
    """An environment in which nvidia-smi is a shell script."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the probe runs in place of TensorFlow; until told otherwise it sees every GPU that it is shown."""

    def answers(script: str) -> None:
        monkeypatch.setattr(machine, "_PROBE", ("/bin/sh", "-c", script))

    answers('echo "$CUDA_VISIBLE_DEVICES" | tr , "\\n" | grep -c .')
    return answers


def test_one_slot_per_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = smi(tmp_path, f"printf '{TWO}'")
    monkeypatch.setenv("PATH", environ["PATH"])
    found = survey(slots=None, environ=environ)
    assert (found.accelerator, found.device, found.memory_bytes) == ("gpu", "NVIDIA L4", 23034 * MIB)
    assert found.slots == [Slot(0, 0, 0), Slot(1, 1, 0)]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found.slots] == ["0", "1"]
    # More slots than GPUs share them, fewer leave some alone.
    assert [slot.gpu for slot in survey(slots=3, environ=environ).slots] == [0, 1, 0]
    assert [slot.gpu for slot in survey(slots=1, environ=environ).slots] == [0]
    # A slot has its share of its GPU's memory.
    assert survey(slots=3, environ=environ).memory_bytes == 23034 * MIB // 2
    assert survey(slots=1, environ=environ).memory_bytes == 23034 * MIB


def test_a_gpu_that_hides_its_memory_shares_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = smi(tmp_path, "echo '0, NVIDIA GB10, [N/A]'")
    monkeypatch.setenv("PATH", environ["PATH"])
    assert survey(slots=None, environ=environ).memory_bytes == machine_memory()


@pytest.mark.parametrize(
    ("gpus", "slots", "bytes_a_slot"),
    [
        ([24], [0], 24),
        ([24], [0, 0], 12),
        ([24, 16], [0, 1], 16),
        # The small one is shared by two, the large one by one; then the other way round.
        ([24, 16], [1, 0, 1], 8),
        ([24, 16], [0, 1, 0], 12),
        # One that no slot uses doesn't count.
        ([24, 16], [0], 24),
        # What hides its memory has its part of the machine's.
        ([0], [0, 0], 48),
        ([0, 0], [0, 1], 48),
        ([0, 24], [0, 1, 0], 24),
    ],
)
def test_the_poorest_slot_says_what_there_is(gpus: list[int], slots: list[int], bytes_a_slot: int) -> None:
    found = slot_memory(
        [Gpu(index, "g", memory) for index, memory in enumerate(gpus)],
        [Slot(index, gpu, 0) for index, gpu in enumerate(slots)],
        96,
    )
    assert found == bytes_a_slot


@pytest.mark.parametrize("script", ["echo no driver; exit 9", None])
def test_without_gpus_there_is_one_slot_for_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    environ = {"PATH": str(tmp_path)} if script is None else smi(tmp_path, script)
    monkeypatch.setenv("PATH", environ["PATH"])
    found = survey(slots=None, environ=environ)
    assert (found.accelerator, found.slots) == ("cpu", [Slot(0, None, 0)])
    assert found.slots[0].environment["CUDA_VISIBLE_DEVICES"] == ""
    assert found.memory_bytes == machine_memory()
    # Several jobs on one processor divide its threads.
    threads = max(1, (os.cpu_count() or 1) // 2)
    two = survey(slots=2, environ=environ)
    assert two.slots == [Slot(0, None, threads), Slot(1, None, threads)]
    # Its memory, too.
    assert two.memory_bytes == machine_memory() // 2


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 0", ["gpu.left_out"]),
        ("echo no such module >&2; exit 1", ["gpu.probe_failed", "gpu.left_out"]),
        ("echo a warning", ["gpu.probe_failed", "gpu.left_out"]),
        ("exec sleep 60", ["gpu.probe_failed", "gpu.left_out"]),
    ],
)
def test_gpus_that_tensorflow_cannot_use_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorflow: Callable[[str], None], script: str, told: list[str]
) -> None:
    tensorflow(script)
    environ = smi(tmp_path, f"printf '{TWO}'")
    monkeypatch.setenv("PATH", environ["PATH"])
    monkeypatch.setattr(machine, "_PROBE_SECONDS", 0.2 if "sleep" in script else 20)
    with capture_logs() as logged:
        found = survey(slots=None, environ=environ)
    assert (found.accelerator, found.slots) == ("cpu", [Slot(0, None, 0)])
    assert [entry["event"] for entry in logged] == told
    assert logged[-1]["gpus"] == ["0: NVIDIA L4", "1: NVIDIA L4"]


def test_of_several_gpus_those_that_tensorflow_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorflow: Callable[[str], None]
) -> None:
    tensorflow('case "$CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES" in "PCI_BUS_ID "*1) echo 1 ;; *) echo 0 ;; esac')
    environ = smi(tmp_path, f"printf '{TWO}'")
    monkeypatch.setenv("PATH", environ["PATH"])
    assert survey(slots=None, environ=environ).slots == [Slot(0, 1, 0)]


def test_an_nvidia_smi_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = smi(tmp_path, "exec sleep 60")
    monkeypatch.setenv("PATH", environ["PATH"])
    monkeypatch.setattr(machine, "_QUERY_SECONDS", 0.2)
    begun = time.monotonic()
    assert machine.query_gpus(environ) == []
    assert time.monotonic() - begun < 10


def test_memory_is_what_this_process_may_use() -> None:
    assert 1 << 26 < machine_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_kills() >= 0
    assert machine.group_file("no.such.file") == ""
