"""The scheduler's side of the dataset service: claims, so that a dataset in use can't be deleted.

Owns the HTTP calls and what their failures mean: the other's refusals go on to the user, an unreachable service is a 503.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import aiohttp
import msgspec

from shared.contract.api.claims import Claimed, ClaimingJob, ClaimRequest, ClaimsAnswer
from shared.contract.api.datasets import DatasetAnswer
from shared.contract.api.errors import ErrorAnswer
from shared.contract.errors import UserError
from shared.contract.views import DatasetView
from shared.runtime.auth import mint
from shared.runtime.clock import Clock
from shared.runtime.trace import current_traceparent

_TOKEN_LIFETIME = timedelta(minutes=5)
_RETRY_AFTER = 10


class DatasetService:
    """A client; `session` is closed by whoever made it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: str, clock: Clock) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._secret = secret
        self._clock = clock

    async def claim(self, team: str, job_id: str, description: str, dataset_ids: Sequence[str]) -> list[DatasetView]:
        """Claim all the datasets for a job, or none. Claiming again is no error. Raises UserError."""
        body = ClaimRequest(team=team, dataset_ids=list(dataset_ids), description=description)
        data = await self._call("PUT", f"/api/internal/claims/{job_id}", team, body)
        return msgspec.json.decode(data, type=Claimed).datasets

    async def release(self, team: str, job_id: str) -> None:
        """Let a job's claims go; there being none is no error. Raises UserError."""
        await self._call("DELETE", f"/api/internal/claims/{job_id}", team, None)

    async def look(self, token_team: str, dataset_ids: Sequence[str]) -> list[DatasetView]:
        """The datasets, unclaimed. Raises UserError for one that isn't there."""
        found = []
        for dataset_id in dataset_ids:
            data = await self._call("GET", f"/api/datasets/{dataset_id}", token_team, None)
            found.append(msgspec.json.decode(data, type=DatasetAnswer).dataset)
        return found

    async def old_claims(self, older_than_seconds: int) -> list[ClaimingJob]:
        """Jobs that have held claims for that long. Raises UserError."""
        path = f"/api/internal/claims?older_than_seconds={older_than_seconds}"
        data = await self._call("GET", path, "", None)
        return msgspec.json.decode(data, type=ClaimsAnswer).claims

    async def _call(self, method: str, path: str, team: str, body: object | None) -> bytes:
        now = self._clock.now()
        token = mint(self._secret, team=team, role="service", name="scheduler", now=now, lifetime=_TOKEN_LIFETIME)
        headers = {"Authorization": f"Bearer {token}"}
        if (traceparent := current_traceparent()) is not None:
            headers["traceparent"] = traceparent
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._session.request(method, self._url + path, data=data, headers=headers) as response:
                content = await response.read()
                wait = response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UserError(
                "datasets_unreachable",
                "The dataset service can't be reached just now; nothing was changed. Try again in a moment.",
                status=503,
                retry_after=_RETRY_AFTER,
            ) from error
        if response.status < 400:
            return content
        try:
            refusal = msgspec.json.decode(content, type=ErrorAnswer).error
        except msgspec.DecodeError as error:
            raise UserError(
                "datasets_failed", f"The dataset service answered {response.status}.", status=502
            ) from error
        field = "dataset_ids" if response.status == 404 else refusal.field
        raise UserError(
            refusal.code,
            refusal.message,
            field,
            status=response.status,
            details=refusal.details or {},
            retry_after=int(wait) if wait.isdecimal() else None,
        )
