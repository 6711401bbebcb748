"""What the scheduler is asked and answers about a team: minutes, statement, members. Owns the structs alone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from shared.contract.jobs import JobState
from shared.contract.views import LedgerEntry, TeamView

TeamRole = Literal["viewer", "member", "mentor"]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a job which has not ended keeps from the balance."""

    job_id: str
    description: str
    state: JobState
    seconds: int


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the team. The role listed here bounds what any of that person's tokens may do with jobs and minutes."""

    name: str
    role: TeamRole
    added_at: datetime
    added_by: str


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Training is closed, by an operator: no job is admitted. `until` None means until it is opened again."""

    by: str
    at: datetime
    message: str = ""
    until: datetime | None = None


class TeamAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A team's minutes, the statement that they sum up, what is reserved and by which job, its members.

    `member_cap_minutes` is what a member may have reserved and used without a mentor's approval, None for no such cap."""

    team: TeamView
    ledger: list[LedgerEntry]
    reservations: list[Reservation] = []
    members: list[Member] = []
    member_cap_minutes: int | None = None
    pause: Pause | None = None


class LedgerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The team's statement, oldest line first, and its sum in seconds."""

    ledger: list[LedgerEntry]
    balance_seconds: int


class TeamRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a mentor may set."""

    member_cap_minutes: int | None


class MemberRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new member, or another role for one."""

    role: TeamRole = "member"


class MemberAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A member and a fresh token in that name, good for `days`."""

    member: Member
    token: str
    days: int
