"""The rules of the status service that aren't folding: a model's story, which progress counts, what can be downloaded.

Pure: no clock, no I/O; knows neither store nor websocket.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote

import msgspec

from shared.contract.errors import UserError
from shared.contract.events import JobChanged, TrainingProgressed
from shared.contract.jobs import MEANINGS, JobState
from shared.contract.stream import Progress
from shared.contract.views import JobView

LABELS_FORMAT = "labels"
LABELS_FILE = "labels.txt"
# States in which steps are made, or were a moment ago: progress is shown.
STEPPING = frozenset({JobState.RUNNING, JobState.STOP_REQUESTED, JobState.STOPPING})


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's story; `version` (the job's) gives the order, `event` is the id of the fact that it tells."""

    event: str
    version: int
    at: datetime
    trigger: str
    state: JobState
    message: str


# What these changes mean is in the notice that came with them.
_TOLD_BY_NOTICE = frozenset({"noticed", "pause", "refitted", "requeued"})


def history_entry(event: str, at: datetime, changed: JobChanged) -> HistoryEntry:
    """What `changed` adds to the story of its model."""
    job = changed.job
    return HistoryEntry(
        event=event,
        version=job.version,
        at=at,
        trigger=changed.trigger,
        state=job.state,
        message=_sentence(changed.trigger, job),
    )


def _sentence(trigger: str, job: JobView) -> str:
    if trigger == "checkpointed" and (checkpoint := job.checkpoint) is not None:
        score = "" if checkpoint.map is None else f", mAP {checkpoint.map:.3f}"
        return f"Checkpoint saved at step {checkpoint.step}{score}."
    if trigger == "exported" and (export := job.export) is not None:
        return f"Exported at step {export.step}: {', '.join(file.format for file in export.files)}."
    if trigger in _TOLD_BY_NOTICE and job.notices:
        return job.notices[-1].message
    if trigger == "priority":
        return f"An operator gave it the priority {job.priority}."
    if trigger == "given_up" and job.reason is not None and job.reason.code != "operator":
        return "It doesn't queue by itself any more."
    if trigger == "assign" and job.trainer is not None:
        return f"Assigned to trainer {job.trainer}, attempt {job.attempt}."
    return MEANINGS[job.state] if job.reason is None else job.reason.message


def progress_of(model_id: str, attempt: int, at: datetime, body: TrainingProgressed) -> Progress:
    """A trainer's figures as clients see them."""
    return Progress(
        model_id=model_id,
        attempt=attempt,
        step=body.step,
        at=at,
        stepping_seconds=body.stepping_seconds,
        steps_per_second=body.steps_per_second,
        learning_rate=body.learning_rate,
        losses=body.losses,
    )


def shows_progress(state: JobState | None, attempt: int, progress: Progress) -> bool:
    """Whether a model in `state`, made by `attempt`, is the one that `progress` tells of.

    Of an attempt that the view hasn't reached yet nothing is shown either: the next second brings more.
    """
    return state in STEPPING and progress.attempt == attempt


def advances(known: Progress | None, new: Progress) -> bool:
    """Whether `new` replaces `known`: of a later attempt, or of the same without a step back."""
    return known is None or (new.attempt, new.step) >= (known.attempt, known.step)


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file to send: where it lies in the artifact store and what it is called there."""

    prefix: str
    name: str
    format: str


def choose_download(job: JobView, wanted: str | None) -> Download:
    """The file that holds `wanted`. Raises UserError `no_export` (404) or `unknown_format` (400)."""
    if job.export is None or not job.export.files:
        raise UserError(
            "no_export",
            f"{job.description!r} has no exported model to download; it is {job.state.value.replace('_', ' ')}.",
            status=404,
            details={"state": job.state.value},
        )
    names = {file.format: file.name for file in job.export.files} | {LABELS_FORMAT: LABELS_FILE}
    if wanted not in names:
        there = ", ".join(names)
        asked = "No format was named" if wanted is None else f"There is no format {wanted[:40]!r}"
        raise UserError(
            "unknown_format", f"{asked}: choose one of {there}.", "format", details={"formats": list(names)}
        )
    return Download(prefix=job.export.prefix, name=names[wanted], format=wanted)


def disposition(description: str, download: Download) -> str:
    """A Content-Disposition that names the file after the model: plain ASCII, and by RFC 5987 as it was typed."""
    tail = f"-{download.format}{PurePosixPath(download.name).suffix}"
    spelled = unicodedata.normalize("NFKD", description).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", spelled).strip("-.") or "model"
    typed = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", description).strip(" -.") or "model"
    return f"attachment; filename=\"{plain}{tail}\"; filename*=UTF-8''{quote(typed + tail, safe='')}"


def resumable(asked: Mapping[str, str], epoch: str, last: int) -> int | None:
    """The sequence number after which a client wants to go on, None where only a snapshot will do.

    `asked` is the query; a position of another epoch, ahead of ours or unreadable is no position.
    """
    text = asked.get("seq", "")
    if asked.get("epoch") != epoch or not re.fullmatch(r"[0-9]{1,18}", text):
        return None
    seq = int(text)
    return seq if seq <= last else None
