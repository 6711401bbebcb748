"""The starting models that a team can choose from, as a table.

Owns their names, sizes and needs; how a model is built is the trainer engine's. Numbers: input sizes, GPU batch sizes and
warm-up steps are ftc-ml's; CPU batch sizes and seconds a step were measured on two cores and only seed the first
estimates, which finished runs then replace.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Accelerator = Literal["cpu", "gpu"]
# Bytes; see StartingModel.memory_at.
_MEMORY_OF_ANY_RUN = 900_000_000


class StartingModel(msgspec.Struct, frozen=True, kw_only=True):
    """`input_size` is the side in pixels of the square picture the network sees; `batch_size` is by accelerator, in
    pictures; `seconds_per_step` by accelerator is for a full batch; `memory_bytes` by accelerator is the peak at that batch
    (`memory_at` tells it for others)."""

    key: str
    name: str
    summary: str
    input_size: int
    batch_size: dict[Accelerator, int]
    warmup_steps: int
    seconds_per_step: dict[Accelerator, float]
    memory_bytes: dict[Accelerator, int]

    def memory_at(self, accelerator: Accelerator, batch_size: int) -> int:
        """Bytes at the peak of a run with this batch: a part that every run takes, and the rest in proportion to the batch.

        Measured on two cores, for the same backbone with a feature pyramid at 320x320, the whole process took 1.6, 2.2, 3.5 and
        6.1 GB at 4, 8, 16 and 32 pictures: a straight line from 0.9 GB on. That first part is taken for every model. On a GPU
        only the peak at the full batch is known: the same first part is assumed there, not measured.
        """
        full = self.memory_bytes[accelerator]
        return _MEMORY_OF_ANY_RUN + (full - _MEMORY_OF_ANY_RUN) * batch_size // self.batch_size[accelerator]


SSD_MOBILENET_V2_320 = StartingModel(
    key="ssd_mobilenet_v2_320x320",
    name="SSD MobileNet v2 320x320",
    summary="Small and quick: the usual choice for a robot. Like the published model of this name, it sees 300x300 pictures.",
    input_size=300,
    batch_size={"cpu": 8, "gpu": 32},
    warmup_steps=2000,
    seconds_per_step={"cpu": 0.6, "gpu": 0.25},
    memory_bytes={"cpu": 2_400_000_000, "gpu": 4_000_000_000},
)

STARTING_MODELS: dict[str, StartingModel] = {model.key: model for model in (SSD_MOBILENET_V2_320,)}
DEFAULT_STARTING_MODEL = SSD_MOBILENET_V2_320.key
