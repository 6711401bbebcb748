"""What the trainer's parent and its child say to each other over a pipe: one JSON object a line.

Owns the message types and their encoding. Knows neither the bus nor TensorFlow: the parent (asyncio, no TensorFlow) and
the child (TensorFlow, no bus) both import it. The parent writes a `RunSpec` to a file and starts
`python -m services.trainer.child <spec file> <fd in> <fd out>`; then the child reports and the parent may send
`StopRun`. End of file on either side means that the other is gone: the child ends at once, the parent takes it
for a crash unless `RunEnded` or `RunFailed` came before. The signal STACKS makes the child print what each thread is at.

Local paths are absolute, on the machine that both share. Durations are seconds.
"""

from __future__ import annotations

import signal
from typing import Literal

import msgspec

STACKS = signal.SIGUSR1

StopReason = Literal["user", "time_limit", "drained"]
Phase = Literal["preparing", "stepping", "saving", "evaluating", "exporting"]
ExportFormat = Literal["float32", "float16"]


class DatasetName(msgspec.Struct, frozen=True):
    """A dataset's id and its name at the time."""

    id: str
    name: str


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that a child needs to make one attempt at a job.

    `train_files` and `eval_files` are local TFRecord shards; `eval_datasets` says for each of the latter which dataset it is of
    (empty: not known). `labels` are in label-id order, ids start at 1.
    `batch_size` is in pictures, `steps` is the total wanted over all attempts. `checkpoint_every` is in steps: a checkpoint
    is saved at each multiple of it and at the last step. `max_stepping_seconds` bounds stepping over all attempts.
    `resume_dir` holds the files of an earlier checkpoint of this job, None to start from step 0; `resume_seconds` is the
    stepping time that it had cost, `resume_evaluated` whether its evaluation has been announced.
    `init_dir` holds a parent model's checkpoint (same labels) to start the weights from. `learning_rate_scale`, above 0 and
    at most 1, multiplies the schedule's rates. `keep_pictures` asks for evaluation pictures to look at; False where an earlier
    attempt has kept them.
    """

    job_id: str
    attempt: int
    starting_model: str
    train_files: list[str]
    eval_files: list[str]
    train_frames: int
    eval_frames: int
    labels: list[str]
    batch_size: int
    steps: int
    checkpoint_every: int
    max_stepping_seconds: float
    seed: int
    work_dir: str
    export_formats: list[ExportFormat]
    pretrained_dir: str | None = None
    allow_download: bool = True
    resume_dir: str | None = None
    resume_step: int = 0
    resume_seconds: float = 0.0
    resume_evaluated: bool = True
    init_dir: str | None = None
    threads: int = 0
    learning_rate_scale: float = 1.0
    eval_datasets: list[DatasetName] = []
    keep_pictures: bool = True


class StopRun(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Parent to child: end after the step under way, save a checkpoint; `drained` skips evaluation and export."""

    reason: StopReason


class Notice(msgspec.Struct, frozen=True, kw_only=True, tag="notice"):
    """Something the user should see on the job, in plain words; `code` is stable (`random_backbone`, …)."""

    code: str
    message: str


class RunPhase(msgspec.Struct, frozen=True, kw_only=True, tag="phase"):
    """What the run does from now on; it begins with `preparing`, which isn't said. Said again from time to time while a long
    evaluation makes headway."""

    phase: Phase


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first step of this attempt is made; `step` is the job's step after it. `seconds` is how long it took, the tracing
    of the graph included."""

    step: int
    resumed_from: int
    seconds: float = 0.0


class RunProgressed(msgspec.Struct, frozen=True, kw_only=True, tag="progressed"):
    """At most one a second. `losses` and the others carry ftc-ml's metric names without a step."""

    step: int
    stepping_seconds: float
    steps_per_second: float
    learning_rate: float
    losses: dict[str, float]


class PicturesKept(msgspec.Struct, frozen=True, kw_only=True, tag="pictures"):
    """Evaluation pictures to look at are in `path`, complete and closed. Once a run at most, before its first evaluation."""

    path: str


class CheckpointSaved(msgspec.Struct, frozen=True, kw_only=True, tag="saved"):
    """All files of a checkpoint are in `path`, complete and closed. The parent publishes the folder, then removes it."""

    step: int
    stepping_seconds: float
    path: str
    training: dict[str, float]


class CheckpointEvaluated(msgspec.Struct, frozen=True, kw_only=True, tag="evaluated"):
    """COCO evaluation of the checkpoint of `step`; -1 where no object of that size or label exists. Follows its
    `CheckpointSaved`. What was found in the pictures that are kept is in the folder `predictions`, None where it isn't."""

    step: int
    evaluation: dict[str, float]
    seconds: float
    predictions: str | None = None


class RunStopping(msgspec.Struct, frozen=True, kw_only=True, tag="stopping"):
    """A stop was heard, or the time is up: no further step will be made. What follows is whatever is left to do: the final
    checkpoint where steps aren't saved yet, evaluation, export. It says nothing of the outcome, which is `succeeded` where all
    steps were made before. Said once, and not before any step of any attempt."""

    step: int
    reason: StopReason


class ModelExported(msgspec.Struct, frozen=True, kw_only=True, tag="exported"):
    """The TFLite files are in `path`, their boxes compared with the Keras model's.

    `files` maps a format (`float32`, …) to its file name; `checks` maps it to the figures of the comparison (`pictures`,
    `boxes` in the file's answers, `sure` boxes of the model and how many of them were `lost`, `lowest_iou`,
    `largest_score_difference`).
    """

    step: int
    path: str
    files: dict[str, str]
    checks: dict[str, dict[str, float]]


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The run is over in good order: all steps made (`succeeded`) or ended early with a checkpoint where a step was made."""

    outcome: Literal["succeeded", "stopped", "drained"]
    step: int
    stepping_seconds: float
    reason: StopReason | None = None


class RunFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The run can't go on. `code` is stable (`nan_loss`, `out_of_memory`, `bad_data`, `bad_checkpoint`, `export_mismatch`,
    `internal_error`)."""

    code: str
    message: str
    step: int


FromChild = (
    Notice
    | RunPhase
    | RunStarted
    | RunProgressed
    | PicturesKept
    | CheckpointSaved
    | CheckpointEvaluated
    | RunStopping
    | ModelExported
    | RunEnded
    | RunFailed
)
ToChild = StopRun

_encoder = msgspec.json.Encoder()
_from_child: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)
_to_child: msgspec.json.Decoder[ToChild] = msgspec.json.Decoder(ToChild)


def encode_line(message: FromChild | ToChild) -> bytes:
    """One message as a JSON line, its newline included."""
    return _encoder.encode(message) + b"\n"


def decode_from_child(line: bytes) -> FromChild:
    """Raises msgspec.DecodeError or msgspec.ValidationError for a line that is no child's message."""
    return _from_child.decode(line)


def decode_to_child(line: bytes) -> ToChild:
    """Raises msgspec.DecodeError or msgspec.ValidationError for a line that is no parent's message."""
    return _to_child.decode(line)
