"""What people and operators ask of the scheduler, over HTTP."""

from __future__ import annotations

from typing import Any

from services.scheduler.domain import Job
from shared.contract.jobs import TERMINAL, JobState
from shared.runtime.auth import Role
from tests.unit.scheduler.plant import Plant
from tests.unit.scheduler.watch import Watch

PEOPLE: dict[str, tuple[str, Role]] = {"Ada": ("red", "member"), "Ben": ("red", "mentor"), "Cem": ("blue", "member")}
NAMES = sorted(PEOPLE)
ENDED, ALIVE = TERMINAL, frozenset(JobState) - TERMINAL
RUNS = frozenset({JobState.RUNNING})
LATER = frozenset({JobState.TRY_AGAIN_LATER})
MODELS = frozenset({JobState.SUCCEEDED, JobState.STOPPED, JobState.FAILED})
WISHES = {
    "submit": None,
    "submit a long one": None,
    "stop": ALIVE,
    "stop a run": RUNS,
    "stop too late": ENDED,
    "retry": LATER,
    "retry and wait": LATER,
    "approve": LATER,
    "delete": ENDED,
    "train more": MODELS,
    "delete a model": MODELS,
}
ACTS = ["cap", "close", "open", "cancel", "priority", "drain"]


class People:
    """`asked` are the jobs that somebody was told of."""

    def __init__(self, plant: Plant, watch: Watch) -> None:
        self._plant, self._watch = plant, watch
        self.asked: set[str] = set()

    async def wish(self, what: str, which: int, at: int) -> None:
        """One of WISHES, about one of the jobs that it is meant for; `which` decides the rest, too."""
        states = WISHES[what]
        if states is None:
            await self._submit(which, at, long="long" in what)
            return
        jobs = self.jobs(states)
        if not jobs:
            return
        job = of(jobs, which)
        path = f"/api/jobs/{job.view.id}"
        name = next(name for name, (team, _) in PEOPLE.items() if team == job.view.team)
        match what:
            case "stop" | "stop a run" | "stop too late":
                await self._ask(name, "POST", f"{path}/stop", at=at)
            case "retry" | "retry and wait":
                await self._ask(name, "POST", f"{path}/retry", {"when_room": what != "retry"}, at=at)
            case "approve":
                await self._ask("Ben", "POST", f"{path}/approve", at=at)
            case "train more":
                body = {"description": "More", "steps": 20, "max_minutes": 5, "dataset_ids": []}
                await self._create(name, f"{path}/more", body, f"{which % 3}", at)
            case _:
                await self._ask(name, "DELETE", path, at=at)

    async def act(self, what: str, which: int, at: int) -> None:
        """One of ACTS: a mentor's or an operator's."""
        match what:
            case "cap":
                await self._ask("Ben", "PATCH", "/api/team", {"member_cap_minutes": of([None, 0, 6, 20], which)}, at=at)
            case "close" | "open":
                team = of([None, "red", "blue"], which)
                body = {"paused": what == "close", "teams": None if team is None else [team], "message": "A tournament"}
                await self._ask("Ops", "POST", "/api/admin/pauses", body, at=at)
            case "drain":
                known = self._plant.store.documents("trainers")
                if known:
                    await self._ask("Ops", "POST", f"/api/trainers/{of(known, which)['_id']}/drain", at=at)
            case _:
                jobs = self.jobs(ALIVE)
                if not jobs:
                    return
                content = {"reason": "In the way"} if what == "cancel" else {"priority": of([-1, 0, 5], which)}
                await self._ask("Ops", "POST", f"/api/admin/jobs/{of(jobs, which).view.id}/{what}", content, at=at)

    def jobs(self, states: frozenset[JobState]) -> list[Job]:
        """Jobs in any of these states, deleted ones too."""
        return [job for job in self._watch.jobs() if job.view.state in states]

    async def _submit(self, which: int, at: int, *, long: bool) -> None:
        """The same `which` again is the same request with the same key; others may have the key of another request."""
        name = of(NAMES, which)
        body = {
            "dataset_ids": [f"data-{1 + number}" for number in range(1 + which % 3)],
            "description": f"Model {which}",
            "steps": of([10, 50, 90], which),
            "max_minutes": 25 if long else of([1, 5, 12], which // 3),
            "when_room": which % 2 == 0,
        }
        await self._create(name, "/api/jobs", body, f"{which % 40}", at)

    async def _create(self, name: str, path: str, body: object, key: str, at: int) -> None:
        status, content = await self._ask(name, "POST", path, body, key=f"{name} {key}", at=at)
        if status == 201:
            self.asked.add(content["job"]["id"])

    async def _ask(
        self, name: str, method: str, path: str, body: object = None, *, key: str | None = None, at: int
    ) -> tuple[int, Any]:
        """A request to one of the schedulers that answer; (0, None) where none did."""
        team, role = PEOPLE.get(name, ("ops", "admin"))
        token, living = self._plant.token(team, role, name), self._plant.living()
        if not living:
            return 0, None
        status, content = await of(living, at).ask(method, path, token, body, key)
        assert status in {0, 200, 201, 204, 404, 409, 422, 503}, content
        return status, content


def of(things: list[Any], number: int) -> Any:
    """One of them."""
    return things[number % len(things)]
