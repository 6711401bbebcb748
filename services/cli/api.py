"""The services' HTTP interface: one typed method a request.

Owns paths, parameters and idempotency keys of what teams ask; what operators ask is operators.py's. Every failure is a
UserError (transport.py). Knows nothing of terminals.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec

from services.cli.config import Server
from services.cli.operators import Operators
from services.cli.stream import Stream
from services.cli.transport import Transport, part
from shared.contract.api.datasets import Compatibility, DatasetAnswer, DatasetsAnswer, DatasetStatistics, Imported
from shared.contract.api.jobs import JobAnswer, JobLog, Plan, PlanAnswer, RetryRequest, Session, StartingModels
from shared.contract.api.models import EventsAnswer, ModelAnswer, ModelEvent, ModelsAnswer
from shared.contract.api.room import RoomAnswer
from shared.contract.api.teams import LedgerAnswer, MemberAnswer, MemberRequest, TeamAnswer, TeamRequest, TeamRole
from shared.contract.api.tokens import TokenAnswer, TokenRequest, TokensAnswer
from shared.contract.views import DatasetView, JobView

CHUNK_BYTES = 1 << 18
IMPORT_SECONDS = 1800.0  # the server reads and checks every picture before it answers


class Download(msgspec.Struct, frozen=True):
    """A file on its way: the server's name for it (None where it gave none), its length in bytes if known, its content."""

    name: str | None
    length: int | None
    chunks: AsyncIterator[bytes]


class Training(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a training is to be like. What is left out isn't sent: the server chooses it, and an older one needn't know it."""

    dataset_ids: list[str] = []
    starting_model: str | None = None
    steps: int | None = None
    max_minutes: int | None = None
    requires: dict[str, str] = {}


class Api:
    """What a team can ask for; `operators` has what operators can."""

    def __init__(self, transport: Transport, stream: Stream) -> None:
        self._transport = transport
        self.stream = stream
        self.operators = Operators(transport)

    async def session(self) -> Session:
        """Whom the token names."""
        return await self._transport.request("GET", "/api/session", Session, safe=True)

    async def team(self) -> TeamAnswer:
        """The team's minutes and their statement."""
        return await self._transport.request("GET", "/api/team", TeamAnswer, safe=True)

    async def room(self) -> RoomAnswer:
        """What runs and waits in the whole room."""
        return await self._transport.request("GET", "/api/queue", RoomAnswer, safe=True)

    async def ledger(self) -> LedgerAnswer:
        """The team's whole statement."""
        return await self._transport.request(
            "GET", "/api/team/ledger", LedgerAnswer, params={"format": "json"}, safe=True
        )

    async def ledger_csv(self) -> bytes:
        """The same as the server's CSV."""
        async with self._transport.fetch("/api/team/ledger", {"format": "csv"}) as response:
            return await response.read()

    async def set_member_cap(self, minutes: int | None) -> TeamAnswer:
        """What a member may have reserved and used without a mentor's approval; None: no such cap."""
        body = TeamRequest(member_cap_minutes=minutes)
        return await self._transport.request("PATCH", "/api/team", TeamAnswer, body=body, safe=True)

    async def put_member(self, name: str, role: TeamRole) -> MemberAnswer:
        """Makes `name` a member, or gives a member another role; the answer has a fresh token in that name."""
        path = f"/api/team/members/{part(name)}"
        return await self._transport.request("PUT", path, MemberAnswer, body=MemberRequest(role=role), safe=True)

    async def remove_member(self, name: str) -> None:
        """Takes `name` off the team's list."""
        await self._transport.request("DELETE", f"/api/team/members/{part(name)}", type(None))

    async def tokens(self) -> TokensAnswer:
        """The live tokens that we made; for a mentor, those of the whole team."""
        return await self._transport.request("GET", "/api/team/tokens", TokensAnswer, safe=True)

    async def create_token(self, name: str, role: TeamRole, days: int) -> TokenAnswer:
        """Makes a token. Where no answer comes it is sent again with the same key: one is made, and its secret comes all the
        same."""
        body, headers = TokenRequest(name=name, role=role, days=days), {"Idempotency-Key": uuid.uuid4().hex}
        return await self._transport.request(
            "POST", "/api/team/tokens", TokenAnswer, body=body, headers=headers, safe=True
        )

    async def revoke_token(self, token_id: str) -> None:
        """Ends a token, everywhere within seconds."""
        await self._transport.request("DELETE", f"/api/team/tokens/{part(token_id)}", type(None))

    async def starting_models(self, frames: int | None) -> StartingModels:
        """What can be trained from; batch sizes are those for `frames` training pictures."""
        params = {} if frames is None else {"frames": str(frames)}
        return await self._transport.request("GET", "/api/starting-models", StartingModels, params=params, safe=True)

    async def datasets(self) -> list[DatasetView]:
        """The team's datasets."""
        return (await self._transport.request("GET", "/api/datasets", DatasetsAnswer, safe=True)).datasets

    async def dataset(self, dataset_id: str) -> DatasetAnswer:
        """One dataset, how it was imported, who uses it."""
        return await self._transport.request("GET", f"/api/datasets/{part(dataset_id)}", DatasetAnswer, safe=True)

    async def dataset_statistics(self, dataset_id: str) -> DatasetStatistics:
        """What is in a dataset, counted."""
        path = f"/api/datasets/{part(dataset_id)}/statistics"
        return await self._transport.request("GET", path, DatasetStatistics, safe=True)

    async def delete_dataset(self, dataset_id: str) -> None:
        """Deletes it. UserError `dataset_in_use` while a model uses it."""
        await self._transport.request("DELETE", f"/api/datasets/{part(dataset_id)}", type(None))

    async def compatibility(self, dataset_ids: Sequence[str]) -> Compatibility:
        """Whether the datasets' labels are the same."""
        body = {"dataset_ids": list(dataset_ids)}
        return await self._transport.request("POST", "/api/datasets/compatibility", Compatibility, body=body, safe=True)

    async def add_dataset(self, archive: Path, settings: Mapping[str, str], sent: Callable[[int], None]) -> Imported:
        """Uploads a zip; `settings` are the import's (name, eval_percent, seed, unlabelled), `sent` is called with the bytes of
        each piece that went out. Raises OSError for an unreadable file."""
        headers = {"Content-Type": "application/zip", "Idempotency-Key": uuid.uuid4().hex}
        with archive.open("rb") as file:
            return await self._transport.send(
                "/api/datasets",
                Imported,
                _pieces(file, sent),
                params=settings,
                headers={**headers, "Content-Length": str(os.fstat(file.fileno()).st_size)},
                silence_seconds=IMPORT_SECONDS,
            )

    async def plan(self, training: Training, parent_id: str | None = None) -> Plan:
        """What it would be like; with a parent, on top of that model and its datasets."""
        parent = {} if parent_id is None else {"parent_id": parent_id}
        body = {**msgspec.to_builtins(training), **parent}
        return (await self._transport.request("POST", "/api/plans", PlanAnswer, body=body, safe=True)).plan

    async def start_job(self, training: Training, description: str, *, when_room: bool) -> JobView:
        """Submits a job. Where no answer comes it is sent again with the same key, so that it is started once at most."""
        return await self._submit("/api/jobs", training, description, when_room)

    async def train_more(self, job_id: str, training: Training, description: str, *, when_room: bool) -> JobView:
        """The same for a job that trains a finished model on; `training` must not name a starting model."""
        return await self._submit(f"/api/jobs/{part(job_id)}/more", training, description, when_room)

    async def retry_job(self, job_id: str, *, when_room: bool) -> JobView:
        """Tries a TRY_AGAIN_LATER job again. UserError `illegal_transition` for any other."""
        body = RetryRequest(when_room=when_room)
        return (await self._transport.request("POST", f"/api/jobs/{part(job_id)}/retry", JobAnswer, body=body)).job

    async def approve_job(self, job_id: str) -> JobView:
        """Lets a job pass the cap of its member: a mentor's."""
        return (await self._transport.request("POST", f"/api/jobs/{part(job_id)}/approve", JobAnswer)).job

    async def log(self, job_id: str) -> JobLog:
        """The last lines of the attempt that ended last."""
        return await self._transport.request("GET", f"/api/jobs/{part(job_id)}/log", JobLog, safe=True)

    async def stop_job(self, job_id: str) -> JobView:
        """Asks for the end of a job; its steps are saved. UserError `illegal_transition` where it can't be stopped."""
        return (await self._transport.request("POST", f"/api/jobs/{part(job_id)}/stop", JobAnswer)).job

    async def delete_job(self, job_id: str) -> None:
        """Deletes a job that has ended, and its model. UserError `job_not_ended` otherwise."""
        await self._transport.request("DELETE", f"/api/jobs/{part(job_id)}", type(None))

    async def models(self) -> list[JobView]:
        """The team's models, newest first."""
        return (await self._transport.request("GET", "/api/models", ModelsAnswer, safe=True)).models

    async def model(self, job_id: str) -> ModelAnswer:
        """One model with its progress and metrics."""
        return await self._transport.request("GET", f"/api/models/{part(job_id)}", ModelAnswer, safe=True)

    async def events(self, job_id: str) -> list[ModelEvent]:
        """A job's history."""
        path = f"/api/models/{part(job_id)}/events"
        return (await self._transport.request("GET", path, EventsAnswer, safe=True)).events

    @asynccontextmanager
    async def download(self, job_id: str, file_format: str) -> AsyncIterator[Download]:
        """A model's file. UserError `no_export`, `unknown_format`; `connection_lost` where it breaks off."""
        path = f"/api/models/{part(job_id)}/download"
        async with self._transport.fetch(path, {"format": file_format}) as response:
            disposition = response.content_disposition
            yield Download(
                None if disposition is None else disposition.filename,
                response.content_length,
                response.content.iter_chunked(CHUNK_BYTES),
            )

    async def _submit(self, path: str, training: Training, description: str, when_room: bool) -> JobView:
        wish = {"when_room": True} if when_room else {}
        body = {"description": description, **msgspec.to_builtins(training), **wish}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return (await self._transport.request("POST", path, JobAnswer, body=body, headers=headers, safe=True)).job


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Api]:
    """An Api with connections of its own."""
    headers = {"Authorization": f"Bearer {server.token}", "User-Agent": "trainyard-cli"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Api(Transport(session, server), Stream(session, server))


async def _pieces(file: BinaryIO, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
        sent(len(piece))
