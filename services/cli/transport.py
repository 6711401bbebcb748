"""One request to the server: time limits, which trouble is worth another try, and every failure as a UserError.

Codes of its own: `unreachable`, `connection_lost`, `timeout`, `http_<status>`, `bad_answer`; else the server's. Knows no path.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from services.cli.config import Server
from shared.contract.api.errors import ErrorAnswer
from shared.contract.errors import UserError

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 8
_FLUSH_SECONDS = 0.1
_PASSING_STATUSES = frozenset({429, 502, 503, 504})
_PASSING_CODES = frozenset({"connection_lost", "timeout"})


class Transport:
    """Requests to one server in the name of one token. `pause` sleeps between tries."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, pause: Pause = asyncio.sleep) -> None:
        self._session = session
        self._server = server
        self._pause = pause

    async def request(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool = False,
    ) -> T:
        """The answer to a request with a JSON body, as a `kind`; type(None) where nothing is answered.

        A `safe` one, where asking twice does no more than asking once, is repeated on trouble that may pass.
        """
        data, given = None, dict(headers or {})
        if body is not None:
            data, given["Content-Type"] = msgspec.json.encode(body), "application/json"
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(ATTEMPTS if safe else 1),
            wait=_wait,
            sleep=self._pause,
            reraise=True,
        )
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        return await retrying(self._answer, method, path, kind, params or {}, given, data, timeout)

    async def send(
        self,
        path: str,
        kind: type[T],
        content: AsyncIterator[bytes],
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        silence_seconds: float,
    ) -> T:
        """The answer to a POST of a long body, which is sent once; it may take as long as something moves every so often."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        try:
            return await self._answer("POST", path, kind, params, headers, content, timeout)
        except UserError:
            # Refused before all was sent: the connection closes only once what is under way has gone.
            await self._pause(_FLUSH_SECONDS)
            raise

    @asynccontextmanager
    async def fetch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A long answer, to be read inside; one that breaks off raises `connection_lost`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
        with translated(self._server.url):
            async with self._session.get(self._server.url + path, params=params, timeout=timeout) as response:
                await _refuse(response, self._server.url)
                yield response

    async def _answer(
        self,
        method: str,
        path: str,
        kind: type[T],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> T:
        url = self._server.url
        with translated(url):
            async with self._session.request(
                method, url + path, params=params, headers=headers, data=data, timeout=timeout
            ) as response:
                await _refuse(response, url)
                content = await response.read()
        try:
            return msgspec.json.decode(content or b"null", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(
                "bad_answer", f"{url}{path} gave an answer that can't be read: {error}", status=500
            ) from error


def part(identifier: str) -> str:
    """One part of a path, whatever is in it."""
    return quote(identifier, safe="")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """The network's own exceptions as UserError."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise UserError(
            "unreachable",
            f"Nothing answers at {url} ({error.strerror or error.os_error}). Is it running? `make up` starts it here.",
            "url",
            status=503,
        ) from error
    except TimeoutError as error:
        raise UserError("timeout", f"{url} did not answer in time. Try again.", status=504) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise UserError("connection_lost", f"The connection to {url} broke: {error}. Try again.", status=502) from error


async def _refuse(response: aiohttp.ClientResponse, url: str) -> None:
    """Raises the UserError that a response with an error status carries."""
    if response.status < 400:
        return
    content = await response.read()
    pause = response.headers.get("Retry-After", "")
    retry_after = int(pause) if pause.isdigit() else None
    try:
        error = msgspec.json.decode(content, type=ErrorAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's own page
        raise UserError(
            f"http_{response.status}",
            f"{url} answered HTTP {response.status} {response.reason} without an explanation.",
            status=response.status,
            retry_after=retry_after,
        ) from None
    raise UserError(
        error.code,
        error.message,
        error.field,
        status=response.status,
        details=error.details or {},
        retry_after=retry_after,
    )


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, UserError) or error.code == "unreachable":
        return False  # nobody listens there: waiting would only hide it
    if error.retry_after is not None and error.retry_after > LONGEST_PAUSE_SECONDS:
        return False
    return error.status in _PASSING_STATUSES or error.code in _PASSING_CODES


_backoff = wait_random_exponential(multiplier=0.4, max=LONGEST_PAUSE_SECONDS)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, UserError) and error.retry_after is not None:
        return float(error.retry_after)
    return _backoff(state)
