"""Acts of operators and mentors, and of people with tokens, each written down before it is done and again with its outcome."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from services.scheduler.records import AuditLog
from shared.contract.api.admin import AuditEntry
from shared.contract.errors import UserError
from shared.runtime.auth import Principal
from shared.runtime.clock import Clock


class Acts:
    """Writes the audit log around what is done."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    @asynccontextmanager
    async def act(
        self, who: Principal, act: str, target: str, details: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Do something in this context; what is put into the dictionary that it gives is written down with the outcome. A
        refusal is written down with its code, and raised."""
        entry = AuditEntry(
            id=uuid.uuid4().hex,
            at=self._clock.now(),
            by=f"{who.team}/{who.name}",
            act=act,
            target=target,
            details=dict(details or {}),
        )
        await self._audit.begin(entry)
        found: dict[str, Any] = {}
        try:
            yield found
        except UserError as error:
            await self._audit.finish(entry, error.code, found)
            raise
        await self._audit.finish(entry, "done", found)
