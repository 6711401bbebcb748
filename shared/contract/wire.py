"""The envelope around every message and its encoding: JSON, one object.

Pure. The bus mirrors the envelope into AMQP properties and headers; the body's `type` tag is the wire name.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import structs

from shared.contract.errors import Reject
from shared.contract.events import Message, Older, upcast, wire_name


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what about whom. `id` is unique to the message and the key by which consumers drop duplicates.

    `correlation_id` is the id of the request or message that began the whole affair, `causation_id` that of the direct cause.
    """

    id: str
    time: datetime
    source: str
    team: str
    body: Message
    job_id: str | None = None
    attempt: int | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    @property
    def type(self) -> str:
        """The wire name of the body."""
        return wire_name(self.body)


class _Read(Envelope, frozen=True, kw_only=True):
    """An envelope as it may lie in a queue: of any version that was ever sent."""

    body: Message | Older  # type: ignore[assignment]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Read)


def encode(envelope: Envelope) -> bytes:
    """The envelope as JSON, UTF-8."""
    return _encoder.encode(envelope)


def decode(data: bytes) -> Envelope:
    """The envelope with its body upcast to the newest version. Raises Reject for what can't be read, whatever it is."""
    try:
        read = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Reject(f"undecodable: {error}") from error
    return Envelope(**{**structs.asdict(read), "body": upcast(read.body)})
