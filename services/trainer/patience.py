"""Calls to the artifact store that may fail for a while: tried again, then given up with one clear exception.

Whatever the store's driver raises counts as an outage; only what a repetition can't change passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, retry, retry_if_exception, stop_after_delay, wait_exponential

from services.trainer.domain import LeaseLost
from services.trainer.threads import abandonable
from shared.runtime import log
from shared.runtime.artifacts import Corrupt

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The artifact store didn't do what was asked within the time given; the text says what it answered."""


class Patience:
    """How long to go on trying, and how long to wait for one call's answer: a store that hangs raises nothing. In seconds."""

    def __init__(self, seconds: float, *, longest_call: float) -> None:
        self._seconds = seconds
        self._longest_call = longest_call
        self._log = log.get("artifacts")

    async def call(self, call: Callable[[], T]) -> T:
        """What the blocking `call()` returns. Raises Corrupt and LeaseLost as they come, StoreUnavailable for the rest."""

        @retry(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential(multiplier=0.25, max=10),
            stop=stop_after_delay(self._seconds),
            before_sleep=lambda state: self._log.warning(
                "artifacts.delayed", tries=state.attempt_number, error=repr(state.outcome and state.outcome.exception())
            ),
        )
        async def attempt() -> T:
            answer = asyncio.timeout(self._longest_call)
            try:
                async with answer:
                    return await abandonable(call)
            except TimeoutError as error:
                if not answer.expired():
                    raise
                raise StoreUnavailable(f"it gave no answer within {self._longest_call:g} s") from error

        try:
            return await attempt()
        except RetryError as error:
            cause = error.last_attempt.exception()
            raise StoreUnavailable(f"{type(cause).__name__}: {cause}") from cause


def _may_pass(error: BaseException) -> bool:
    """Whether a repetition may help. A cancellation, which is no Exception, is never repeated."""
    return isinstance(error, Exception) and not isinstance(error, Corrupt | LeaseLost | StoreUnavailable)
