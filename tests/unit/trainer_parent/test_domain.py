"""The trainer's decisions, by tables."""

from __future__ import annotations

import signal

import pytest

from services.trainer.domain import (
    MAP,
    Answer,
    Best,
    CheckpointName,
    Lease,
    LeaseLost,
    answer_assign,
    best_of,
    better,
    crash,
    failure,
    is_job_id,
    refusal,
    resume_order,
    stalled,
    stop_reason,
    stronger,
    to_delete,
    trainer_id,
)
from services.trainer.protocol import Phase, StopReason

Name = CheckpointName


@pytest.mark.parametrize(
    ("attempt", "held", "over", "free", "draining", "answer"),
    [
        (1, None, None, 1, False, Answer.ACCEPT),
        (1, None, None, 0, False, Answer.REFUSE),
        (1, None, None, 1, True, Answer.REFUSE),
        (2, 2, None, 0, False, Answer.ANNOUNCE_AGAIN),
        (2, 2, None, 0, True, Answer.ANNOUNCE_AGAIN),
        (2, 2, 1, 1, False, Answer.ANNOUNCE_AGAIN),
        (1, 2, None, 1, False, Answer.STALE),
        # The old attempt's slot is the new one's.
        (3, 2, None, 0, False, Answer.REPLACE),
        (3, 2, None, 1, True, Answer.REFUSE),
        # What ended or was handed back here never begins again.
        (2, None, 2, 1, False, Answer.STALE),
        (1, None, 2, 1, False, Answer.STALE),
        (2, None, 2, 0, True, Answer.STALE),
        (3, None, 2, 1, False, Answer.ACCEPT),
    ],
)
def test_answer_to_an_assignment(
    attempt: int, held: int | None, over: int | None, free: int, draining: bool, answer: Answer
) -> None:
    def asked(*, unheard: bool) -> Answer:
        return answer_assign(attempt, held=held, over=over, free_slots=free, draining=draining, unheard=unheard)

    assert asked(unheard=False) is answer
    # A trainer that nobody has heard begins nothing.
    assert asked(unheard=True) is (Answer.REFUSE if answer in (Answer.ACCEPT, Answer.REPLACE) else answer)


@pytest.mark.parametrize(
    ("asked", "reason", "result"),
    [
        (None, "user", "user"),
        ("user", "user", "user"),
        ("user", "drained", "drained"),
        ("drained", "user", "drained"),
    ],
)
def test_the_stronger_reason_to_stop(asked: StopReason | None, reason: StopReason, result: StopReason) -> None:
    assert stronger(asked, reason) == result


class TestLease:
    def test_holds_until_its_seconds_are_over(self) -> None:
        lease = Lease(10, 100)
        assert lease.left(100) == 10
        assert lease.left(109.5) == 0.5
        lease.require(109.9)
        assert lease.left(110) == 0

    def test_counts_from_when_the_confirmed_heartbeat_was_sent(self) -> None:
        lease = Lease(10, 100)
        lease.renew(sent=104, now=108)
        assert lease.left(108) == 6

    def test_never_goes_back(self) -> None:
        lease = Lease(10, 100)
        lease.renew(sent=105, now=105)
        lease.renew(sent=103, now=106)
        assert lease.left(106) == 9

    def test_once_lost_stays_lost(self) -> None:
        lease = Lease(10, 100)
        lease.renew(sent=109, now=110)
        with pytest.raises(LeaseLost, match="10 s"):
            lease.require(110)
        lease.renew(sent=110, now=110)
        assert lease.left(101) == 0


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("trainer-1", "trainer-1-0a1b2c"),
        ("GPU Box_7.local", "gpu-box-7-local-0a1b2c"),
        ("--", "trainer-0a1b2c"),
        ("", "trainer-0a1b2c"),
        ("x" * 60, "x" * 40 + "-0a1b2c"),
        ("y" * 39 + " z", "y" * 39 + "-0a1b2c"),
    ],
)
def test_a_trainers_id_is_fit_for_a_queue_name(name: str, result: str) -> None:
    assert trainer_id(name, "0a1b2c") == result


@pytest.mark.parametrize(
    ("text", "good"), [("4f0a", True), ("a-B_9", True), ("", False), ("a/b", False), ("..", False), ("a" * 101, False)]
)
def test_a_job_id_is_fit_for_a_path(text: str, good: bool) -> None:
    assert is_job_id(text) is good


class TestCheckpoints:
    def test_names_read_back(self) -> None:
        name = Name(1200, 3)
        assert str(name) == "00001200-a3"
        assert Name.parse("00001200-a3") == name
        assert Name.parse(str(Name(123_456_789, 1))) == Name(123_456_789, 1)

    @pytest.mark.parametrize("text", ["1200-a3", "00001200", "00001200-a", "best", "00001200-a3.aside"])
    def test_other_folders_are_no_checkpoints(self, text: str) -> None:
        assert Name.parse(text) is None

    def test_resume_takes_the_most_steps_then_the_latest_attempt(self) -> None:
        folders = ["00000100-a1", "00000200-a1", "00000200-a2", "junk", "00000150-a10", "00000150-a9"]
        assert [str(name) for name in resume_order(folders)] == [
            "00000200-a2",
            "00000200-a1",
            "00000150-a10",
            "00000150-a9",
            "00000100-a1",
        ]

    @pytest.mark.parametrize(
        ("best", "evaluation", "result"),
        [
            (None, {MAP: 0.2}, Best(Name(9, 1), 0.2)),
            (None, {MAP: -1.0}, Best(Name(9, 1), -1.0)),
            (None, {}, None),
            (None, {MAP: float("nan")}, None),
            (Best(Name(5, 1), 0.2), {MAP: 0.3}, Best(Name(9, 1), 0.3)),
            (Best(Name(5, 1), 0.2), {MAP: 0.2}, Best(Name(5, 1), 0.2)),
            (Best(Name(5, 1), 0.2), {MAP: 0.1}, Best(Name(5, 1), 0.2)),
            (Best(Name(5, 1), 0.2), {}, Best(Name(5, 1), 0.2)),
        ],
    )
    def test_the_best_has_the_highest_map_and_came_first(
        self, best: Best | None, evaluation: dict[str, float], result: Best | None
    ) -> None:
        assert better(best, Name(9, 1), evaluation) == result

    def test_the_best_of_earlier_attempts_is_one_that_can_be_read(self) -> None:
        maps = {Name(5, 1): 0.3, Name(10, 1): 0.9, Name(15, 2): 0.3, Name(20, 2): None}
        assert best_of(maps, [Name(5, 1), Name(15, 2), Name(20, 2)]) == Best(Name(5, 1), 0.3)
        assert best_of({}, []) is None

    @pytest.mark.parametrize(
        ("there", "latest", "best", "attempt", "gone"),
        [
            ([(10, 1)], (10, 1), None, 1, []),
            ([(5, 1), (10, 1)], (10, 1), None, 1, [(5, 1)]),
            ([(5, 1), (10, 1)], (10, 1), (5, 1), 1, []),
            ([(5, 1), (10, 1), (15, 1)], (15, 1), (5, 1), 1, [(10, 1)]),
            ([(5, 1), (10, 1)], (10, 1), (10, 1), 1, [(5, 1)]),
            # Damaged, of an earlier attempt, with more steps than we have.
            ([(5, 1), (20, 1), (10, 2)], (10, 2), None, 2, [(5, 1), (20, 1)]),
            # Somebody came after us: what is theirs stays.
            ([(5, 1), (10, 1), (10, 2), (15, 2)], (10, 1), None, 1, [(5, 1)]),
        ],
    )
    def test_all_but_the_latest_and_the_best_make_way(
        self,
        there: list[tuple[int, int]],
        latest: tuple[int, int],
        best: tuple[int, int] | None,
        attempt: int,
        gone: list[tuple[int, int]],
    ) -> None:
        names = [Name(*name) for name in there]
        kept = None if best is None else Best(Name(*best), 0.5)
        assert to_delete(names, latest=Name(*latest), best=kept, attempt=attempt) == [Name(*name) for name in gone]


@pytest.mark.parametrize(
    ("status", "kills", "code", "words"),
    [
        (-signal.SIGKILL, 1, "out_of_memory", "ran out of memory"),
        (-signal.SIGKILL, 0, "out_of_memory", "most often"),
        (-signal.SIGSEGV, 0, "child_crashed", "SIGSEGV"),
        (-200, 0, "child_crashed", "signal 200"),
        (3, 0, "child_crashed", "exit status 3"),
        (0, 0, "child_crashed", "exit status 0"),
    ],
)
def test_a_crash_is_told_in_plain_words(status: int, kills: int, code: str, words: str) -> None:
    reason = crash(status, memory_kills=kills)
    assert reason.code == code
    assert words in reason.message
    assert reason.remedy


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("stepping", "made no step for 75 s after step 120"),
        ("preparing", "was preparing for 75 s without headway, at step 120,"),
        ("saving", "was saving a checkpoint for 75 s without headway, at step 120,"),
        ("evaluating", "was evaluating a checkpoint for 75 s without headway, at step 120,"),
        ("exporting", "was exporting the model for 75 s without headway, at step 120,"),
    ],
)
def test_a_stall_is_told_with_its_phase_seconds_and_step(phase: Phase, words: str) -> None:
    reason = stalled(phase, seconds=75.2, step=120)
    assert (reason.code, reason.message) == ("stalled", f"The training process {words} and was ended.")
    assert reason.remedy


def test_reasons_have_sentences() -> None:
    assert stop_reason("time_limit").message == "The maximum training time was used up."
    assert stop_reason("drained").code == "drained"
    assert failure("unheard_of", "It failed.").remedy
    assert failure("nan_loss", "It failed.").remedy != failure("unheard_of", "It failed.").remedy
    assert "no free slot" in refusal(draining=False, unheard=False).message
    assert "shut down" in refusal(draining=True, unheard=True).message
    assert "out of reach" in refusal(draining=False, unheard=True).message
