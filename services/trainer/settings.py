"""What a trainer is told through its environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from services.trainer.protocol import ExportFormat
from shared.runtime.settings import ServiceSettings

_MOST_LABELS = 16
_LABEL_PART = re.compile(r"[a-z0-9._-]{1,40}")
_LABEL_RULE = (
    f"labels are written key=value,key=value: at most {_MOST_LABELS}, no key twice, keys and values of 1 to 40 characters "
    "out of a-z, 0-9, dot, hyphen and underscore"
)


def parse_labels(value: object) -> object:
    """`pool=lab,room=3` as a dictionary; spaces around the parts don't count. Raises ValueError with the rule."""
    if not isinstance(value, str):
        return value
    labels: dict[str, str] = {}
    for pair in value.split(",") if value.strip() else []:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or key in labels or not (_LABEL_PART.fullmatch(key) and _LABEL_PART.fullmatch(text)):
            raise ValueError(f"{pair.strip()!r} is no label; {_LABEL_RULE}")
        labels[key] = text
    if len(labels) > _MOST_LABELS:
        raise ValueError(f"there are {len(labels)}; {_LABEL_RULE}")
    return labels


def parse_list(value: object) -> object:
    """`float32,float16` as a list; spaces around the parts don't count."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Labels = Annotated[dict[str, str], NoDecode, BeforeValidator(parse_labels)]
Formats = Annotated[list[ExportFormat], NoDecode, BeforeValidator(parse_list), Field(min_length=1)]


class TrainerSettings(ServiceSettings):
    """A trainer's own settings; empty variables count as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    trainer_name: str = Field("", max_length=200, description="name in the trainer's id; empty: the host's name")
    trainer_labels: Labels = Field(
        {}, description="what jobs may ask of their trainer, as in pool=lab,room=3; at most 16 labels"
    )
    work_dir: Path = Field(
        Path("/var/lib/trainyard/trainer"), description="folder for cached datasets and running jobs; one trainer each"
    )
    pretrained_dir: Path | None = Field(None, description="folder with pretrained backbones")
    allow_download: bool = Field(True, description="whether a backbone that isn't there may be downloaded")
    slots: int | None = Field(None, ge=1, le=64, description="jobs side by side; not set: one per GPU, else one")
    heartbeat_seconds: float = Field(2.0, gt=0, le=30, description="pace of heartbeats")
    cache_bytes: int = Field(20_000_000_000, ge=0, description="size of the dataset cache, in bytes")
    drain_seconds: float = Field(
        45.0, ge=0, le=3600, description="how long a stop waits for the final checkpoints of running jobs"
    )
    stall_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="how long a job may make no step before it fails; 20 times its own step time where that is more",
    )
    phase_seconds: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="how long a job may prepare, save, evaluate or export, or wait for one answer of the artifact store, "
        "without headway before it fails",
    )
    export_formats: Formats = Field(
        ["float32", "float16"], description="TFLite formats of a finished model, comma-separated: float32, float16"
    )
    child_module: str = Field(
        "services.trainer.child", pattern=r"^[A-Za-z_][\w.]*$", description="module that trains, run as a process"
    )
