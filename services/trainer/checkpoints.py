"""One job's checkpoints in the artifact store, and what is known of each.

Owns `jobs/<id>/checkpoints/<step>-a<attempt>` (the files) and `jobs/<id>/evaluations/<step>-a<attempt>` (a manifest alone: what
evaluation found, which comes after the files and can't change them). All calls block.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from services.trainer.domain import Best, CheckpointName, best_of, map_of, resume_order, to_delete
from shared.runtime.artifacts import Artifacts, Corrupt, Manifest

S = TypeVar("S", bound=msgspec.Struct)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A durable checkpoint, as its manifest describes it. `stepping_seconds` counts all attempts."""

    step: int
    attempt: int
    stepping_seconds: float
    saved_at: datetime
    training: dict[str, float] = {}

    @property
    def name(self) -> CheckpointName:
        """Its folder's name."""
        return CheckpointName(self.step, self.attempt)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What evaluation found for one checkpoint."""

    step: int
    attempt: int
    evaluation: dict[str, float]


class Checkpoints:
    """The checkpoints of one job, as one attempt at it sees them."""

    def __init__(self, artifacts: Artifacts, job_id: str, attempt: int) -> None:
        self._artifacts = artifacts
        self._files = f"jobs/{job_id}/checkpoints"
        self._evaluations = f"jobs/{job_id}/evaluations"
        self._attempt = attempt

    def prefix(self, name: CheckpointName) -> str:
        """Where a checkpoint's files lie."""
        return f"{self._files}/{name}"

    def names(self) -> list[CheckpointName]:
        """All that are complete, in the order in which to try to resume from them."""
        return resume_order(self._artifacts.folders(self._files))

    def fetch(self, name: CheckpointName, cache: Path) -> tuple[Checkpoint, Path]:
        """A checkpoint and its files under `cache`, checked against their checksums. Raises Corrupt."""
        described = _meta(self._artifacts.manifest(self.prefix(name)), Checkpoint)
        if described.name != name:
            raise Corrupt(f"{self.prefix(name)} describes {described.name}")
        return described, self._artifacts.fetch(self.prefix(name), cache)

    def save(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Publish the files in `folder`; from then on the checkpoint exists."""
        self._artifacts.publish(self.prefix(checkpoint.name), folder, msgspec.to_builtins(checkpoint))

    def evaluation(self, name: CheckpointName) -> dict[str, float] | None:
        """What evaluation found for a checkpoint, None where that isn't known."""
        try:
            return _meta(self._artifacts.manifest(f"{self._evaluations}/{name}"), Evaluation).evaluation
        except Corrupt:
            return None

    def record(self, name: CheckpointName, evaluation: dict[str, float]) -> None:
        """Keep what evaluation found, for attempts to come."""
        found = Evaluation(step=name.step, attempt=name.attempt, evaluation=evaluation)
        with tempfile.TemporaryDirectory() as nothing:
            self._artifacts.publish(f"{self._evaluations}/{name}", Path(nothing), msgspec.to_builtins(found))

    def best(self, unreadable: Collection[CheckpointName]) -> Best | None:
        """The checkpoint with the highest mAP among those that are there, the `unreadable` ones left out."""
        there = [name for name in self.names() if name not in unreadable]
        maps = {name: map_of(self.evaluation(name) or {}) for name in there}
        return best_of(maps, there)

    def prune(self, latest: CheckpointName, best: Best | None, require: Callable[[], None]) -> list[CheckpointName]:
        """Delete all but the latest and the best one, with their evaluations; returns whose files went.

        `require` is called before each deletion and raises if we may not go on.
        """
        gone = to_delete(self.names(), latest=latest, best=best, attempt=self._attempt)
        for name in gone:
            require()
            self._artifacts.delete(self.prefix(name))
        evaluated = resume_order(self._artifacts.folders(self._evaluations))
        for name in to_delete(evaluated, latest=latest, best=best, attempt=self._attempt):
            require()
            self._artifacts.delete(f"{self._evaluations}/{name}")
        return gone


def _meta(manifest: Manifest, kind: type[S]) -> S:
    try:
        return msgspec.convert(manifest.meta, kind)
    except msgspec.ValidationError as error:
        raise Corrupt(f"the manifest doesn't describe a {kind.__name__.lower()}: {error}") from error
