"""One job's evaluation pictures and what its model found in them, in the artifact store.

Owns `jobs/<id>/pictures-a<attempt>`, of the first attempt that got so far, and `jobs/<id>/predictions/<step>-a<attempt>`, named
after the checkpoint. Both stay until the job is deleted: they are small. All calls block.
"""

from __future__ import annotations

import re
from pathlib import Path

from services.trainer.domain import CheckpointName
from shared.contract.views import PredictionsView
from shared.runtime.artifacts import Artifacts

_PICTURES = re.compile(r"pictures-a(\d+)")


class Gallery:
    """Of one job, as one attempt at it sees it. `pictures` is where they are, None while there are none."""

    def __init__(self, artifacts: Artifacts, job_id: str, attempt: int) -> None:
        self._artifacts = artifacts
        self._job = f"jobs/{job_id}"
        self._attempt = attempt
        self.pictures: str | None = None

    def find(self) -> None:
        """Look for the pictures of an earlier attempt."""
        matches = (_PICTURES.fullmatch(name) for name in self._artifacts.folders(self._job))
        attempts = [int(match[1]) for match in matches if match]
        if attempts:
            self.pictures = f"{self._job}/pictures-a{min(attempts)}"

    def keep_pictures(self, folder: Path) -> None:
        """Publish the pictures in `folder`."""
        prefix = f"{self._job}/pictures-a{self._attempt}"
        self._artifacts.publish(prefix, folder)
        self.pictures = prefix

    def keep_predictions(self, checkpoint: CheckpointName, folder: Path) -> PredictionsView | None:
        """Publish what was found at a checkpoint; where an earlier attempt has done so that stays. None, and nothing is kept,
        where there are no pictures that it could be of."""
        if self.pictures is None:
            return None
        self._artifacts.publish(self._prefix(checkpoint), folder)
        return PredictionsView(prefix=self._prefix(checkpoint), pictures=self.pictures)

    def predictions(self, checkpoint: CheckpointName) -> PredictionsView | None:
        """Where the predictions of a checkpoint are, None where there are none."""
        if self.pictures is None or self._artifacts.find(self._prefix(checkpoint)) is None:
            return None
        return PredictionsView(prefix=self._prefix(checkpoint), pictures=self.pictures)

    def _prefix(self, checkpoint: CheckpointName) -> str:
        return f"{self._job}/predictions/{checkpoint}"
