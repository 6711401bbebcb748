"""The starting models that a team can choose from, as a table.

Owns their names, sizes and needs; how a model is built is the trainer engine's. Numbers: input sizes, GPU batch sizes and
warm-up steps are ftc-ml's; CPU batch sizes and seconds a step were measured on two cores and only seed the first
estimates, which finished runs then replace.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Accelerator = Literal["cpu", "gpu"]


class StartingModel(msgspec.Struct, frozen=True, kw_only=True):
    """`input_size` is the side in pixels of the square picture the network sees; `batch_size` is by accelerator, in
    pictures; `seconds_per_step` by accelerator is for a full batch; `memory_bytes` by accelerator is the peak at that batch."""

    key: str
    name: str
    summary: str
    input_size: int
    batch_size: dict[Accelerator, int]
    warmup_steps: int
    seconds_per_step: dict[Accelerator, float]
    memory_bytes: dict[Accelerator, int]


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
