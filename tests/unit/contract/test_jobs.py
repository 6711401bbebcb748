"""The state table, cell by cell: every state × trigger × situation against a table written out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from shared.contract import diagram
from shared.contract.errors import IllegalTransition, Stale
from shared.contract.jobs import (
    ASSIGNED,
    MEANINGS,
    TERMINAL,
    TRANSITIONS,
    USER_TRIGGERS,
    Guard,
    JobState,
    Situation,
    Transition,
    Trigger,
    reconcile,
    sources_of,
    step,
)

# Columns: with a checkpoint and attempts left · with a checkpoint, attempts used up · without a checkpoint, attempts left ·
# without a checkpoint, attempts used up. What isn't listed is refused: Stale, or IllegalTransition for a user's command.
EXPECTED = """
QUEUED          assign        PREPARING          PREPARING          PREPARING          PREPARING
QUEUED          stop          STOPPED            STOPPED            CANCELED           CANCELED
TRY_AGAIN_LATER admit         QUEUED             QUEUED             QUEUED             QUEUED
QUEUED          inconsistent  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED
PREPARING       started       RUNNING            RUNNING            RUNNING            RUNNING
PREPARING       stop          STOP_REQUESTED     STOP_REQUESTED     STOP_REQUESTED     STOP_REQUESTED
PREPARING       lost          QUEUED             FAILED             QUEUED             FAILED
PREPARING       drained       QUEUED             QUEUED             QUEUED             QUEUED
PREPARING       requeued      QUEUED             QUEUED             QUEUED             QUEUED
PREPARING       failed        FAILED             FAILED             FAILED             FAILED
PREPARING       inconsistent  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED
RUNNING         stop          STOP_REQUESTED     STOP_REQUESTED     STOP_REQUESTED     STOP_REQUESTED
RUNNING         time_up       STOPPING           STOPPING           STOPPING           STOPPING
RUNNING         succeeded     SUCCEEDED          SUCCEEDED          SUCCEEDED          SUCCEEDED
RUNNING         lost          QUEUED             FAILED             QUEUED             FAILED
RUNNING         drained       QUEUED             QUEUED             QUEUED             QUEUED
RUNNING         requeued      QUEUED             QUEUED             QUEUED             QUEUED
RUNNING         failed        FAILED             FAILED             FAILED             FAILED
RUNNING         inconsistent  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED
STOP_REQUESTED  stopping      STOPPING           STOPPING           STOPPING           STOPPING
STOP_REQUESTED  stopped       STOPPED            STOPPED            CANCELED           CANCELED
STOP_REQUESTED  enforced      STOPPED            STOPPED            CANCELED           CANCELED
STOP_REQUESTED  lost          STOPPED            STOPPED            CANCELED           CANCELED
STOP_REQUESTED  drained       STOPPED            STOPPED            CANCELED           CANCELED
STOP_REQUESTED  succeeded     SUCCEEDED          SUCCEEDED          SUCCEEDED          SUCCEEDED
STOP_REQUESTED  failed        FAILED             FAILED             FAILED             FAILED
STOP_REQUESTED  inconsistent  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED
STOPPING        stopped       STOPPED            STOPPED            CANCELED           CANCELED
STOPPING        lost          STOPPED            STOPPED            CANCELED           CANCELED
STOPPING        drained       STOPPED            STOPPED            CANCELED           CANCELED
STOPPING        succeeded     SUCCEEDED          SUCCEEDED          SUCCEEDED          SUCCEEDED
STOPPING        failed        FAILED             FAILED             FAILED             FAILED
STOPPING        inconsistent  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED  STATE_UNSPECIFIED
"""

SITUATIONS = [
    Situation(has_checkpoint=checkpoint, attempts_left=left) for checkpoint in (True, False) for left in (True, False)
]
CELLS = {
    (JobState(source), Trigger(trigger), situation): JobState(target)
    for source, trigger, *targets in (line.split() for line in EXPECTED.strip().splitlines())
    for situation, target in zip(SITUATIONS, targets, strict=True)
}
ALIVE = frozenset(JobState) - TERMINAL


def test_every_cell_of_the_table() -> None:
    for state, trigger, situation in itertools.product(JobState, Trigger, SITUATIONS):
        expected = CELLS.get((state, trigger, situation))
        if expected is not None:
            assert step(state, trigger, situation) is expected, (state, trigger, situation)
        elif trigger in USER_TRIGGERS:
            with pytest.raises(IllegalTransition) as illegal:
                step(state, trigger, situation)
            assert (illegal.value.state, illegal.value.trigger) == (state, trigger)
        else:
            with pytest.raises(Stale, match=f"{trigger} does not apply to a job that is {state}"):
                step(state, trigger, situation)


def test_no_cell_is_decided_by_two_rows() -> None:
    def holds(row: Transition, situation: Situation) -> bool:
        return {
            Guard.ALWAYS: True,
            Guard.HAS_CHECKPOINT: situation.has_checkpoint,
            Guard.NO_CHECKPOINT: not situation.has_checkpoint,
            Guard.ATTEMPTS_LEFT: situation.attempts_left,
            Guard.ATTEMPTS_USED_UP: not situation.attempts_left,
        }[row.guard]

    for state, trigger, situation in itertools.product(JobState, Trigger, SITUATIONS):
        rows = [r for r in TRANSITIONS if r.source is state and r.trigger is trigger and holds(r, situation)]
        assert len(rows) <= 1, rows


@pytest.mark.parametrize("trigger", [trigger for trigger in Trigger if trigger is not Trigger.RECONCILED])
def test_the_database_guard_is_the_table(trigger: Trigger) -> None:
    assert sources_of(trigger) == {state for state, moved, _ in CELLS if moved is trigger}


def test_only_an_unspecified_state_is_reconciled_to_any() -> None:
    assert sources_of(Trigger.RECONCILED) == {JobState.STATE_UNSPECIFIED}
    for target in JobState:
        assert reconcile(JobState.STATE_UNSPECIFIED, target) is target
    for state in frozenset(JobState) - {JobState.STATE_UNSPECIFIED}:
        with pytest.raises(IllegalTransition):
            reconcile(state, JobState.QUEUED)


def test_every_state_is_reached_and_every_live_state_can_end() -> None:
    leads_to = {state: {row.target for row in TRANSITIONS if row.source is state} for state in JobState}

    def reach(start: JobState) -> set[JobState]:
        seen, ahead = {start}, [start]
        while ahead:
            for target in leads_to[ahead.pop()] - seen:
                seen.add(target)
                ahead.append(target)
        return seen

    assert reach(JobState.QUEUED) == frozenset(JobState) - {JobState.TRY_AGAIN_LATER}
    for state in ALIVE - {JobState.STATE_UNSPECIFIED}:
        assert reach(state) & TERMINAL, f"{state} never ends"


def test_terminal_states_have_no_exit_but_the_one_of_a_job_that_is_tried_again() -> None:
    assert {
        JobState.SUCCEEDED,
        JobState.STOPPED,
        JobState.CANCELED,
        JobState.FAILED,
        JobState.TRY_AGAIN_LATER,
    } == TERMINAL
    exits = [row for row in TRANSITIONS if row.source in TERMINAL]
    assert exits == [Transition(JobState.TRY_AGAIN_LATER, Trigger.ADMIT, JobState.QUEUED)]


def test_assigned_states_are_those_that_a_lost_trainer_leaves() -> None:
    assert sources_of(Trigger.LOST) == ASSIGNED
    assert not ASSIGNED & TERMINAL


def test_every_state_has_a_meaning() -> None:
    assert set(MEANINGS) == set(JobState)


def test_an_illegal_command_tells_the_state() -> None:
    with pytest.raises(IllegalTransition) as illegal:
        step(JobState.STOP_REQUESTED, Trigger.STOP, SITUATIONS[0])
    error = illegal.value
    assert (error.status, error.code, error.field) == (409, "illegal_transition", "state")
    assert error.message == "The job is STOP REQUESTED: stop isn't possible in that state."
    assert error.details == {"state": "STOP_REQUESTED", "trigger": "stop"}


def test_the_architecture_document_shows_this_table() -> None:
    text = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()
    shown = text.partition("<!-- states:begin -->")[2].partition("<!-- states:end -->")[0]
    assert shown.strip() == diagram.render(), "make generate"


def test_the_diagram_draws_every_state_and_every_row() -> None:
    drawn = diagram.render().splitlines()
    for row in TRANSITIONS:
        if row.trigger is Trigger.INCONSISTENT:
            continue
        condition = "" if row.guard is Guard.ALWAYS else f" [{row.guard}]"
        arrows = [line for line in drawn if line.strip().startswith(f"{row.source} --> {row.target}:")]
        assert any(
            row.trigger.value in line.partition(": ")[2].removesuffix(condition).split(", ")
            and line.endswith(condition)
            for line in arrows
        ), row
    for state in JobState:
        assert any(state.value in line for line in drawn)
