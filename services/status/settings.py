"""What the status service is told through its environment, besides what all services share."""

from __future__ import annotations

from pydantic import Field

from shared.contract.stream import SILENCE_SECONDS
from shared.runtime.settings import CommonSettings


class StatusSettings(CommonSettings):
    """Names of environment variables are the field names in capitals."""

    stream_tick_seconds: float = Field(
        0.05, gt=0, le=5, description="least time between two frames to one client: what is due in it is merged"
    )
    stream_backlog: int = Field(
        1000, ge=1, le=100_000, description="events that a client may be behind before it is told to resume"
    )
    stream_send_seconds: float = Field(
        10.0, gt=0, le=300, description="how long a client may take to accept one frame before it is told to resume"
    )
    stream_idle_seconds: float = Field(
        5.0,
        gt=0,
        le=SILENCE_SECONDS / 2,
        description="an empty frame is sent after so long without one: clients take a longer silence for a dead line",
    )
    stream_heartbeat_seconds: float = Field(20.0, gt=0, le=300, description="pace of websocket pings")
    log_keep: int = Field(10_000, ge=1, le=1_000_000, description="events kept a team for clients that come back")
    tidy_seconds: float = Field(30.0, gt=0, le=3600, description="how often logs are trimmed and idle teams let go of")
    tombstone_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="how long a deleted model or dataset is remembered, so that no late fact revives it",
    )
    idle_team_seconds: float = Field(
        900.0, ge=1, description="a team's views leave memory after so long without an event or a client"
    )
