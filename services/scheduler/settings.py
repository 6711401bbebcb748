"""What the scheduler is told through its environment, besides what all services share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from services.scheduler.hours import LabHours
from shared.runtime.settings import CommonSettings

_DEFAULT_STEPS = 3000


class SchedulerSettings(CommonSettings):
    """Limits are the installation's; the defaults are ftc-ml's where it had one."""

    port: int = Field(8102, ge=0, le=65535, description="port to listen on, 0 for any free one")
    dataset_url: str = Field("http://127.0.0.1:8101", description="the dataset service, for claims")
    min_steps: int = Field(200, ge=1, description="fewest steps of a job")
    max_steps: int = Field(8000, ge=1, description="most steps of a job")
    checkpoint_every: int = Field(100, ge=5, le=1000, description="steps between checkpoints")
    max_minutes: int = Field(600, ge=1, description="most minutes that one job may reserve")
    team_minutes: int = Field(600, ge=0, description="minutes granted to a team at first")
    max_attempts: int = Field(3, ge=1, le=20, description="trainers that a job may lose before it fails")
    max_queued: int = Field(200, ge=1, description="jobs waiting in all before new ones are told to try again later")
    max_team_jobs: int = Field(10, ge=1, description="jobs of one team that wait or run at a time")
    lease_seconds: float = Field(25.0, ge=1, le=600, description="silence after which a trainer counts as lost")
    plan_seconds: float = Field(1.0, ge=0.05, le=60, description="longest pause between two rounds of planning")
    max_wait_seconds: float = Field(
        86_400.0, ge=0, description="longest expected wait before new jobs are told to try again later; 0: any"
    )
    expect_trainers_seconds: float = Field(
        0.0, ge=0, description="how long jobs wait for a trainer that isn't there yet, where trainers start on demand"
    )
    expected_accelerator: Literal["cpu", "gpu"] = Field(
        "cpu", description="what jobs are made for while no trainer is there"
    )
    usage_half_life_hours: float = Field(
        24.0, gt=0, description="after which a team's past use counts half in its rank"
    )
    lab_hours: str = Field(
        "", description='when trainers may train, as in OpenStreetMap: "Mo-Fr 08:00-18:00"; empty: always'
    )
    lab_timezone: str = Field("UTC", description="the zone of LAB_HOURS, such as Europe/Berlin")
    pause_lead_seconds: float = Field(
        60.0, ge=0, le=3600, description="how long before the lab closes running jobs are asked to save and pause"
    )
    leader_seconds: float = Field(
        6.0, ge=0.5, le=60, description="after which another scheduler plans, where the one that plans is silent"
    )
    audit_seconds: float = Field(15.0, ge=0.2, le=600, description="pace at which the board is compared with the store")
    secure_cookie: bool = Field(False, description="mark the session cookie Secure: set it where the gateway has TLS")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"MIN_STEPS ({self.min_steps}) must not be above MAX_STEPS ({self.max_steps})")
        self.hours()
        return self

    @property
    def default_steps(self) -> int:
        """Steps of a job of which nothing else is known."""
        return max(self.min_steps, min(_DEFAULT_STEPS, self.max_steps))

    def hours(self) -> LabHours | None:
        """The lab's hours, None for always. Raises ValueError that names the variable and what is wrong with it."""
        if not self.lab_hours.strip():
            return None
        try:
            return LabHours(self.lab_hours, self.lab_timezone)
        except ValueError as error:
            raise ValueError(f"LAB_HOURS {self.lab_hours!r} in LAB_TIMEZONE {self.lab_timezone!r}: {error}") from error
