"""The dataset service's side of the plant: datasets, and who claims which."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from shared.contract.views import DatasetView, LabelCount


class Claims(NamedTuple):
    """What a team's job claims, and since when."""

    team: str
    datasets: set[str]
    at: datetime


@dataclass
class Datasets:
    """The dataset service's side: who claims what, and since when."""

    views: dict[str, DatasetView]
    claims: dict[str, Claims] = field(default_factory=dict)
    up: bool = True


def a_dataset(name: str, created_at: datetime) -> DatasetView:
    """Everybody's that asks, of 150 pictures."""
    return DatasetView(
        id=name,
        team="red",
        name=name,
        created_at=created_at,
        labels=[LabelCount(name="ball", train=9, eval=3)],
        train_frames=120,
        eval_frames=30,
        train_negatives=0,
        eval_negatives=0,
        bytes=1,
        prefix=f"datasets/{name}",
    )
