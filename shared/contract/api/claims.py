"""What the dataset service is asked and answers about claims: the scheduler's business with it, closed to people.

Owns the structs alone. While a job claims a dataset, nobody can delete it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.contract.api.datasets import Ids
from shared.contract.views import DatasetView


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Datasets that a job of `team` is going to use; `description` names the model to people."""

    team: str
    dataset_ids: Ids
    description: str


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The claimed datasets, in the order in which they were asked for."""

    datasets: list[DatasetView]


class ClaimingJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that holds claims, its team, and since when."""

    job_id: str
    team: str
    since: datetime


class ClaimsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that hold claims, of all teams."""

    claims: list[ClaimingJob]
