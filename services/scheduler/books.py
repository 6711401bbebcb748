"""What the jobs of each team take from its minutes, in memory: admission looks at it with each request, and whoever plans when
it tells a team its minutes.

Owns when that is good enough. Each reservation raises the team's version and stays announced in the team's document until
somebody who has seen the job's own line reserves again; so with the version unchanged, nothing has been taken that isn't either
here or announced. What was given back meanwhile by another scheduler may be missing: that makes nobody rich, and before anybody
is refused the store is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.scheduler.budget import Account
from services.scheduler.domain import Job
from services.scheduler.store import JobStore


def account_of(job: Job) -> Account:
    """The account of a job as it was written or read."""
    view = job.view
    return Account.of(
        [(line.kind, line.seconds) for line in job.ledger],
        version=view.version,
        created_by=view.created_by,
        capped=job.capped,
        approved_by=view.approved_by,
        state=view.state,
    )


class _Team:
    """The accounts by job id; `version` is the team's that they are good for, None while they are read."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.accounts: dict[str, Account] = {}

    def put(self, job_id: str, account: Account) -> None:
        known = self.accounts.get(job_id)
        if known is None or known.version < account.version:
            self.accounts[job_id] = account


class Books:
    """`of` gives a team's accounts; `wrote` is told of each job as it is written, `reserved` of each reservation."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._teams: dict[str, _Team] = {}

    async def of(self, team: str, version: int) -> Mapping[str, Account]:
        """All accounts of a team, by job id, which are at least what the store had when the team was at `version`."""
        known = self._teams.get(team)
        if known is not None and known.version == version:
            return known.accounts
        # What is written while it is read comes on top, whichever is the newer.
        fresh = self._teams[team] = _Team()
        for job_id, account in (await self._jobs.accounts(team)).items():
            fresh.put(job_id, account)
        fresh.version = version
        return fresh.accounts

    def wrote(self, job: Job) -> None:
        """A job as it is in the store now."""
        known = self._teams.get(job.view.team)
        if known is not None:
            known.put(job.view.id, account_of(job))

    def reserved(self, team: str, version: int) -> None:
        """Our own reservation has raised the team's version, from `version` on."""
        known = self._teams.get(team)
        if known is not None and known.version == version:
            known.version = version + 1

    def forget(self, team: str | None = None) -> None:
        """Ask the store the next time about this team, or (None) about any."""
        if team is None:
            self._teams.clear()
        else:
            self._teams.pop(team, None)
