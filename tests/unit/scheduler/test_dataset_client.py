"""What the scheduler makes of the dataset service's failures."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_ports
from services.scheduler.datasets import DatasetService
from shared.contract.errors import UserError
from shared.runtime.clock import SystemClock

SECRET = "s" * 32


async def _refused(url: str) -> UserError:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(UserError) as refused:
            await DatasetService(session, url, SECRET, SystemClock()).claim("t", "j", "Model", ["d"])
    return refused.value


async def test_an_answer_that_is_no_error_of_ours_is_the_service_s_failure() -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500, text="<h1>Internal Server Error</h1>")

    app = web.Application()
    app.add_routes([web.put("/api/internal/claims/{job_id}", broken)])
    async with TestServer(app) as server:
        error = await _refused(str(server.make_url("/")))
    assert (error.code, error.status) == ("datasets_failed", 502)
    assert "answered 500" in error.message


async def test_a_service_that_is_not_there_is_a_matter_of_a_moment() -> None:
    (port,) = free_ports(1)
    error = await _refused(f"http://127.0.0.1:{port}")
    assert (error.code, error.status) == ("datasets_unreachable", 503)
    assert error.retry_after is not None
