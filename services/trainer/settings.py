"""What a trainer is told through its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """A trainer's own settings; empty variables count as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    trainer_name: str = Field("", max_length=200, description="name in the trainer's id; empty: the host's name")
    work_dir: Path = Field(
        Path("/var/lib/trainyard/trainer"), description="folder for cached datasets and running jobs; one trainer each"
    )
    pretrained_dir: Path | None = Field(None, description="folder with pretrained backbones")
    allow_download: bool = Field(True, description="whether a backbone that isn't there may be downloaded")
    slots: int | None = Field(None, ge=1, le=64, description="jobs side by side; not set: one per GPU, else one")
    heartbeat_seconds: float = Field(2.0, gt=0, le=30, description="pace of heartbeats")
    cache_bytes: int = Field(20_000_000_000, ge=0, description="size of the dataset cache, in bytes")
    drain_seconds: float = Field(
        55.0, ge=0, le=3600, description="how long a stop waits for the final checkpoints of running jobs"
    )
    export_formats: str = Field(
        "float32,float16", pattern=r"^[a-z0-9]+(,[a-z0-9]+)*$", description="TFLite formats, comma-separated"
    )
    child_module: str = Field(
        "services.trainer.child", pattern=r"^[A-Za-z_][\w.]*$", description="module that trains, run as a process"
    )
