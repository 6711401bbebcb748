"""What this machine offers: GPUs, memory, and the kernel's count of processes killed for want of memory.

Owns the questions to nvidia-smi, to TensorFlow (in a process of its own) and to /proc and /sys; knows no job.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from shared.contract.starting_models import Accelerator
from shared.runtime import log

_QUERY = ("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")
_QUERY_SECONDS = 20.0
_PROBE = (sys.executable, "-m", "services.trainer.engine.gpus")
# TensorFlow from a cold disk takes its time.
_PROBE_SECONDS = 120.0
_MIB = 1 << 20


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as nvidia-smi numbers it; memory in bytes, 0 where it doesn't say."""

    index: int
    name: str
    memory_bytes: int


class Slot(msgspec.Struct, frozen=True):
    """Room for one job. `gpu` is the GPU's index, None for the CPU; `threads` bounds the CPU threads, 0 leaves them alone."""

    index: int
    gpu: int | None
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """What the job in this slot is told, so that it uses this slot's GPU and no other."""
        return cuda_environment([] if self.gpu is None else [self.gpu])


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a trainer says about itself. `memory_bytes` is what a slot has, the poorest one where they differ: its share of its
    GPU's memory, or of the machine's."""

    accelerator: Accelerator
    device: str
    memory_bytes: int
    slots: Sequence[Slot]


def survey(*, slots: int | None, environ: Mapping[str, str]) -> Machine:
    """Look at this machine. `slots` overrides the number of slots; more slots than GPUs share them in turn."""
    gpus = usable(visible(query_gpus(environ), environ.get("CUDA_VISIBLE_DEVICES")), environ)
    memory, cores = machine_memory(), os.cpu_count() or 1
    if gpus:
        names = sorted({gpu.name for gpu in gpus})
        made = [Slot(i, gpus[i % len(gpus)].index, 0) for i in range(slots or len(gpus))]
        return Machine(
            accelerator="gpu", device=" + ".join(names), memory_bytes=slot_memory(gpus, made, memory), slots=made
        )
    count = slots or 1
    threads = 0 if count == 1 else max(1, cores // count)
    return Machine(
        accelerator="cpu",
        device=f"{cpu_name()} ({cores} cores)",
        memory_bytes=memory // count,
        slots=[Slot(i, None, threads) for i in range(count)],
    )


def slot_memory(gpus: Sequence[Gpu], slots: Sequence[Slot], machine: int) -> int:
    """Bytes that the poorest of `slots` has: those of one GPU share its memory. GPUs that don't say what they have share the
    `machine`'s with all slots on such GPUs."""
    users = Counter(slot.gpu for slot in slots)
    sharing = sum(users[gpu.index] for gpu in gpus if not gpu.memory_bytes)
    used = [gpu for gpu in gpus if users[gpu.index]]
    return min(gpu.memory_bytes // users[gpu.index] if gpu.memory_bytes else machine // sharing for gpu in used)


def query_gpus(environ: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that nvidia-smi lists; none where it is missing, fails, or doesn't answer within 20 s."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True, env=dict(environ)
        )
    except FileNotFoundError:
        return []
    except (subprocess.SubprocessError, OSError) as error:
        log.get("machine").warning("gpu.query_failed", error=str(error))
        return []
    return parse_gpus(answer.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """nvidia-smi's lines `index, name, MiB`; a line that isn't one is passed over, memory that isn't a number counts 0."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[0].isdigit():
            memory = int(parts[2]) * _MIB if parts[2].isdigit() else 0
            found.append(Gpu(int(parts[0]), parts[1], memory))
    return found


def visible(gpus: Sequence[Gpu], limit: str | None) -> list[Gpu]:
    """The GPUs that the trainer's own CUDA_VISIBLE_DEVICES (numbers; None: not set) leaves to it."""
    if limit is None:
        return list(gpus)
    wanted = {part.strip() for part in limit.split(",")}
    return [gpu for gpu in gpus if str(gpu.index) in wanted]


def usable(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> list[Gpu]:
    """Those of `gpus` that TensorFlow can use as it is installed here. Without GPUs it isn't asked, which takes seconds."""
    if not gpus:
        return []
    count = count_usable(gpus, environ)
    if count == len(gpus):
        return list(gpus)
    # Its numbers don't tell which: each is asked for alone, as a job is given it.
    found = [gpu for gpu in gpus if count_usable([gpu], environ)] if count else []
    left_out = [f"{gpu.index}: {gpu.name}" for gpu in gpus if gpu not in found]
    if left_out:
        why = "the TensorFlow that is installed here can't use them: is it tensorflow[and-cuda]?"
        log.get("machine").warning("gpu.left_out", gpus=left_out, why=why)
    return found


def count_usable(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> int:
    """How many of `gpus` TensorFlow lists; none where it fails or doesn't answer within 120 s."""
    try:
        answer = subprocess.run(
            _PROBE,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=True,
            env={**environ, **cuda_environment([gpu.index for gpu in gpus])},
        )
        return int(answer.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        log.get("machine").warning("gpu.probe_failed", error=str(error))
        return 0


def cuda_environment(gpus: Sequence[int]) -> dict[str, str]:
    """The variables that leave a process these GPUs; CUDA's own order is another than nvidia-smi's."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}


def cpu_name() -> str:
    """The processor's model name, or the architecture where the kernel doesn't tell it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = group_file("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def memory_kills() -> int:
    """How many processes of our control group the kernel has killed for want of memory; 0 where it doesn't count."""
    for line in group_file("memory.events").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0


def group_file(name: str) -> str:
    """What a file of our control group (version 2) says, nothing where there is none."""
    try:
        groups = Path("/proc/self/cgroup").read_text()
        own = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), "/")
        return (Path("/sys/fs/cgroup") / own.lstrip("/") / name).read_text()
    except OSError:
        return ""
