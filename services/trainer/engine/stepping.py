"""Accounts of a run's stepping: seconds, speed, mean losses, and when the next report is due.

Owns the rule of what counts as stepping time: every step but the first of a process, which traces the graph. Saving, evaluation
and export never pass through here. Durations come from the caller; no clock is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Interval:
    """Mean losses and speed of the steps since the last `take`."""

    steps: int = 0
    timed_steps: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: Mapping[str, float], seconds: float | None) -> None:
        """One step's `losses` and its duration, None when it does not count."""
        self.steps += 1
        if seconds is not None:
            self.timed_steps += 1
            self.seconds += seconds
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    @property
    def steps_per_second(self) -> float:
        """0.0 while no step has been timed."""
        return self.timed_steps / self.seconds if self.seconds > 0 else 0.0

    def means(self) -> dict[str, float]:
        """Mean of each loss over the interval's steps."""
        return {name: total / self.steps for name, total in self.sums.items()}


@dataclass
class Stepping:
    """The job's `step` and its stepping `seconds`, both over all attempts, and the two intervals being measured."""

    step: int
    seconds: float
    made: int = 0
    since_report: Interval = field(default_factory=Interval)
    since_checkpoint: Interval = field(default_factory=Interval)
    reported_at: float = -math.inf

    def add(self, losses: Mapping[str, float], seconds: float) -> None:
        """Count one step that took `seconds` of wall time. The first one of the process is not charged."""
        counted = seconds if self.made else None
        self.step += 1
        self.made += 1
        self.seconds += counted or 0.0
        self.since_report.add(losses, counted)
        self.since_checkpoint.add(losses, counted)

    def report_due(self, now: float) -> bool:
        """True when a second has gone by since the last report (`now` in seconds of any steady clock)."""
        return self.since_report.steps > 0 and now - self.reported_at >= 1.0

    def take_report(self, now: float) -> Interval:
        """The interval since the last report; a new one begins."""
        taken, self.since_report, self.reported_at = self.since_report, Interval(), now
        return taken

    def take_checkpoint(self) -> Interval:
        """The interval since the last checkpoint; a new one begins."""
        taken, self.since_checkpoint = self.since_checkpoint, Interval()
        return taken
