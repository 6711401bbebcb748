/** All teams with their minutes: making new ones, granting minutes, closing and opening training. */
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api";
import type { BatchAnswer, Pause, PauseRequest, TeamRow } from "../contract";
import { minutes, whole } from "../format";
import { texts } from "../texts";
import { Button, Problem, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useNow, usePage, useRoomVersion } from "./context";
import { CopyButton } from "./copy";
import { useFollowed } from "./fetched";
import { Field } from "./field";
import { CloseTraining } from "./operators-pause";
import { useWishKey } from "./wish-key";

/** Jobs move with the room; the minutes of other teams tell nobody. */
const EVERY_MS = 10_000;

export function TeamsTab(): JSX.Element {
  const page = usePage();
  const version = useRoomVersion();
  const { data, problem, since, again } = useFollowed((signal) => page.api.teams(signal), version, EVERY_MS);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const teams = data?.teams ?? [];
  const selected = teams.map((row) => row.minutes.team).filter((team) => chosen.has(team));
  /** Whom training is to be closed for: null is everybody, undefined is a question that wasn't asked. */
  const [closing, setClosing] = useState<string[] | null | undefined>(undefined);
  const pause = async (wanted: PauseRequest) => {
    told(page.tell, await page.api.pause(wanted));
    again();
  };
  const open = (names: string[] | null) => void carryOut(page, () => pause({ teams: names, paused: false }));
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      {data?.pause != null && <Everybody pause={data.pause} onOpen={() => open(null)} />}
      <div class="columns">
        <section class="card" data-testid="teams">
          <div class="toolbar" role="toolbar" aria-label={texts.models.actions}>
            <Button
              refusal={selected.length === 0 ? texts.operators.selectTeams : null}
              onClick={() => setClosing(selected)}
            >
              {texts.operators.pause}
            </Button>
            <Button refusal={selected.length === 0 ? texts.operators.selectTeams : null} onClick={() => open(selected)}>
              {texts.operators.resume}
            </Button>
            <span class="grow" />
            <Button
              refusal={data?.pause != null ? texts.operators.closedAlready : null}
              onClick={() => setClosing(null)}
            >
              {texts.operators.pauseAll}
            </Button>
          </div>
          {data === null ? (
            <Waiting rows={3} />
          ) : (
            <div class="scroll-x">
              <table class="table compact">
                <thead>
                  <tr>
                    <td class="check" />
                    <th scope="col">{texts.operators.team}</th>
                    <th scope="col" class="num">
                      {texts.team.left}
                    </th>
                    <th scope="col" class="num">
                      {texts.team.used}
                    </th>
                    <th scope="col" class="num">
                      {texts.team.reserved}
                    </th>
                    <th scope="col" class="num">
                      {texts.operators.running}
                    </th>
                    <th scope="col" class="num">
                      {texts.operators.waiting}
                    </th>
                    <th scope="col" class="num">
                      {texts.team.members}
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {teams.map((row) => (
                    <Row
                      key={row.minutes.team}
                      row={row}
                      chosen={chosen.has(row.minutes.team)}
                      onChoose={(on) => {
                        const next = new Set(chosen);
                        if (on) next.add(row.minutes.team);
                        else next.delete(row.minutes.team);
                        setChosen(next);
                      }}
                    />
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </section>
        <div class="column">
          <Grant teams={selected} onDone={again} />
          <Create onDone={again} />
        </div>
      </div>
      {closing !== undefined && <CloseTraining teams={closing} onPause={pause} onClose={() => setClosing(undefined)} />}
    </>
  );
}

function told(tell: (tone: "good" | "bad", message: string) => void, answer: BatchAnswer): void {
  for (const each of answer.results) if (each.error !== null) tell("bad", `${each.team}: ${each.error.message}`);
  if (answer.failed === 0) tell("good", texts.operators.done);
}

function Everybody({ pause, onOpen }: { pause: Pause; onOpen: () => void }): JSX.Element {
  const now = useNow();
  return (
    <div class="note tone-warn" data-testid="pause">
      <span class="grow">{texts.team.closed(pause, now)}</span>
      <Button onClick={onOpen}>{texts.operators.resumeAll}</Button>
    </div>
  );
}

interface RowProps {
  row: TeamRow;
  chosen: boolean;
  onChoose: (on: boolean) => void;
}

function Row({ row, chosen, onChoose }: RowProps): JSX.Element {
  const { team } = row.minutes;
  const now = useNow(row.pause !== null);
  return (
    <tr class={chosen ? "chosen" : ""} data-testid="team-row">
      <td class="check">
        <input
          type="checkbox"
          aria-label={texts.models.select(team)}
          checked={chosen}
          onChange={(event) => onChoose(event.currentTarget.checked)}
        />
      </td>
      <th scope="row">
        {team}
        {row.pause !== null && (
          <span class="badge tone-warn" title={texts.team.closed(row.pause, now)}>
            {texts.operators.paused}
          </span>
        )}
      </th>
      <td class="num">{minutes(row.minutes.balance_seconds)}</td>
      <td class="num">{minutes(row.minutes.used_seconds)}</td>
      <td class="num">{minutes(row.minutes.reserved_seconds)}</td>
      <td class="num">{whole(row.running)}</td>
      <td class="num">{whole(row.waiting)}</td>
      <td class="num">{whole(row.members)}</td>
    </tr>
  );
}

/** Minutes for the selected teams: pressing twice grants once. */
function Grant({ teams, onDone }: { teams: string[]; onDone: () => void }): JSX.Element {
  const page = usePage();
  const [amount, setAmount] = useState("60");
  const [note, setNote] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const wishKey = useWishKey();
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (teams.length === 0) return;
    const wish = { teams, minutes: Number(amount), note };
    try {
      told(page.tell, await page.api.grant(wish, wishKey.of(JSON.stringify(wish))));
      wishKey.done();
      setError(null);
      onDone();
    } catch (problem) {
      setError(asApiError(problem));
    }
  };
  return (
    <form class="card pad stack" onSubmit={(event) => void submit(event)} noValidate>
      <h2>{texts.operators.grantTitle}</h2>
      <p class="muted small-text">{teams.length === 0 ? texts.operators.selectTeams : teams.join(", ")}</p>
      <Field
        id={`${id}m`}
        label={texts.operators.grantMinutes}
        hint={texts.operators.grantHint}
        error={error?.field === "minutes" ? error.message : null}
        after={texts.start.minutes}
        input={
          <input
            type="number"
            value={amount}
            data-testid="grant-minutes"
            onInput={(event) => setAmount(event.currentTarget.value)}
          />
        }
      />
      <Field
        id={`${id}n`}
        label={texts.operators.note}
        hint={texts.operators.noteHint}
        error={error !== null && error.field !== "minutes" ? error.message : null}
        input={<input value={note} autocomplete="off" onInput={(event) => setNote(event.currentTarget.value)} />}
      />
      <button type="submit" class="button" data-testid="grant" disabled={teams.length === 0}>
        {texts.operators.grant}
      </button>
    </form>
  );
}

function Create({ onDone }: { onDone: () => void }): JSX.Element {
  const page = usePage();
  const [names, setNames] = useState("");
  const [amount, setAmount] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const [made, setMade] = useState<BatchAnswer | null>(null);
  const wishKey = useWishKey();
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    const teams = names.split(/[\s,]+/).filter(Boolean);
    if (teams.length === 0) return setError(asApiError(new Error(texts.operators.teamsMissing)));
    const wish = { teams, minutes: amount === "" ? null : Number(amount) };
    try {
      const answer = await page.api.createTeams(wish, wishKey.of(JSON.stringify(wish)));
      told(page.tell, answer);
      setMade(answer);
      setError(null);
      onDone();
    } catch (problem) {
      setError(asApiError(problem));
    }
  };
  return (
    <form class="card pad stack" onSubmit={(event) => void submit(event)} noValidate>
      <h2>{texts.operators.createTitle}</h2>
      <Field
        id={`${id}n`}
        label={texts.operators.teamNames}
        hint={texts.operators.teamNamesHint}
        error={error !== null && error.field !== "minutes" ? error.message : null}
        input={
          <input
            value={names}
            autocomplete="off"
            data-testid="team-names"
            onInput={(event) => setNames(event.currentTarget.value)}
          />
        }
      />
      <Field
        id={`${id}m`}
        label={texts.operators.seasonMinutes}
        hint={texts.operators.seasonHint}
        error={error?.field === "minutes" ? error.message : null}
        after={texts.start.minutes}
        input={<input type="number" value={amount} onInput={(event) => setAmount(event.currentTarget.value)} />}
      />
      <button type="submit" class="button" data-testid="create-teams">
        {texts.operators.create}
      </button>
      {made?.results.map(
        (each) =>
          each.token !== null && (
            <div key={each.team} class="token" data-testid="team-token">
              <p>{texts.operators.mentorToken(each.team)}</p>
              <div class="code">
                <CopyButton text={each.token} />
                <pre tabIndex={0}>{each.token}</pre>
              </div>
            </div>
          ),
      )}
    </form>
  );
}
