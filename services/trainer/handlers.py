"""The trainer's commands: decide, do, answer. Nothing long happens here: a handler is cancelled when its channel dies."""

from __future__ import annotations

from collections.abc import Callable

from services.trainer.domain import Answer, Order, answer_assign, is_job_id, refusal
from services.trainer.holdings import Holdings
from services.trainer.reporter import Reporter
from shared.contract.errors import Reject, Stale
from shared.contract.events import JobAssign, JobStop, TrainerDrain, TrainingAccepted, TrainingEnded
from shared.contract.wire import Envelope
from shared.runtime.bus import Handlers


class CommandHandlers:
    """What JobAssign, JobStop and TrainerDrain do. `silent_for` tells for how many seconds no heartbeat was confirmed; `leave`
    begins the end of this process, as SIGTERM does."""

    def __init__(
        self, holdings: Holdings, reporter: Reporter, silent_for: Callable[[], float], leave: Callable[[], None]
    ) -> None:
        self._holdings = holdings
        self._reporter = reporter
        self._silent_for = silent_for
        self._leave = leave

    def table(self) -> Handlers:
        """The handler of each command."""
        return {JobAssign: self.assign, JobStop: self.stop, TrainerDrain: self.drain}

    async def assign(self, envelope: Envelope) -> None:
        """Hold the job, say again that we do, or hand it back at once."""
        order = _order(envelope)
        held = self._holdings.attempt_of(order.job_id)
        unheard = self._silent_for() >= order.assign.lease_seconds
        answer = answer_assign(
            order.attempt,
            held=None if held is None else held.order.attempt,
            over=self._holdings.last_over(order.job_id),
            free_slots=self._holdings.free_slots,
            draining=self._holdings.draining,
            unheard=unheard,
        )
        match answer:
            case Answer.ACCEPT:
                self._holdings.begin(order)
            case Answer.REPLACE:
                assert held is not None
                await self._holdings.release(order.job_id, held.order.attempt)
                self._holdings.begin(order)
            case Answer.ANNOUNCE_AGAIN:
                assert held is not None
                await held.voice.tell(TrainingAccepted(trainer=self._reporter.trainer))
            case Answer.REFUSE:
                await self._refuse(order, unheard=unheard)
            case Answer.STALE:
                raise Stale(f"attempt {order.attempt} of job {order.job_id} was here before")

    async def stop(self, envelope: Envelope) -> None:
        """End an attempt in good order, hand it back with what it has reached, or drop it without a word."""
        job_id, attempt = _subject(envelope)
        assert isinstance(envelope.body, JobStop)
        match envelope.body.reason:
            case "user":
                self._holdings.stop(job_id, attempt, "user")
            case "drain":
                self._holdings.stop(job_id, attempt, "drained")
            case "release":
                await self._holdings.release(job_id, attempt)

    async def drain(self, _: Envelope) -> None:
        """Take no more jobs, hand back those that are held, and end."""
        self._holdings.draining = True
        self._leave()

    async def _refuse(self, order: Order, *, unheard: bool) -> None:
        """Hand an attempt back. What it knows of its checkpoint is what the scheduler told us."""
        known = order.assign.known_step
        reason = refusal(draining=self._holdings.draining, unheard=unheard)
        ended = TrainingEnded(outcome="drained", step=known, checkpoint_step=known, stepping_seconds=0.0, reason=reason)
        await self._reporter.publish(self._reporter.about(order, ended))
        self._holdings.remember_over(order)


def _order(envelope: Envelope) -> Order:
    job_id, attempt = _subject(envelope)
    assert isinstance(envelope.body, JobAssign)
    return Order(
        job_id=job_id,
        attempt=attempt,
        team=envelope.team,
        assign=envelope.body,
        correlation_id=envelope.correlation_id or envelope.id,
        causation_id=envelope.id,
        traceparent=envelope.traceparent,
    )


def _subject(envelope: Envelope) -> tuple[str, int]:
    if envelope.job_id is None or envelope.attempt is None:
        raise Reject("a command to a trainer must name a job and an attempt")
    if not is_job_id(envelope.job_id):
        raise Reject(f"not a job id: {envelope.job_id!r}")
    return envelope.job_id, envelope.attempt
