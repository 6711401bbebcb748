/** Tokens for scripts and devices: which there are, a new one whose secret is shown once, and the end of one. */
import type { JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { isMentor } from "../actions";
import { ApiError, asApiError } from "../api";
import type { Session, TokenAnswer, TokenView } from "../contract";
import { calendarDay, day } from "../format";
import { texts } from "../texts";
import { Button, Confirm, Problem, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useNow, usePage } from "./context";
import { CopyButton } from "./copy";
import { useFollowed } from "./fetched";
import { Field } from "./field";
import { useWishKey } from "./wish-key";
import "../styles/tokens.css";

const WORDS = texts.tokens;
const REFRESH_MS = 60_000;
const DAY_MS = 86_400_000;
const USUAL_DAYS = "90";
/** From so many days before its end a token is worth a look. */
const SOON_DAYS = 7;

type Role = TokenView["role"];
const ROLES: readonly Role[] = ["viewer", "member", "mentor"];

/** The roles that somebody may give away: those up to their own. */
function givable(role: Session["role"] | undefined): readonly Role[] {
  if (isMentor(role)) return ROLES;
  return role === "member" ? ROLES.slice(0, 2) : [];
}

/** Asked again when `version` changes, and every so often for the days of last use. */
export function Tokens({ version }: { version: string }): JSX.Element {
  const page = usePage();
  const { api, session } = page;
  const { data, problem, since, again } = useFollowed((signal) => api.tokens(signal), version, REFRESH_MS);
  const [made, setMade] = useState<TokenAnswer | null>(null);
  const [ending, setEnding] = useState<TokenView | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const roles = givable(session?.role);
  const revoke = (token: TokenView) =>
    carryOut(page, async () => {
      await api.revokeToken(token.id);
      if (made?.token.id === token.id) setMade(null);
      again();
      // Its row goes, and the button that has the focus with it.
      heading.current?.focus();
      page.tell("good", WORDS.revoked(token.name));
    });
  return (
    <section class="card pad tokens" aria-labelledby="tokens" data-testid="tokens">
      <header class="split">
        <h2 id="tokens" ref={heading} tabIndex={-1}>
          {WORDS.title}
        </h2>
        {data !== null && <span class="muted small-text number">{WORDS.count(data.live, data.limit)}</span>}
      </header>
      <p class="muted small-text">{roles.length === 0 ? WORDS.hintViewer : WORDS.hint}</p>
      <Problem problem={problem} since={since} onRetry={again} />
      {data === null ? (
        problem === null && <Waiting rows={2} />
      ) : data.tokens.length === 0 ? (
        <p class="muted tokens-none">{isMentor(session?.role) ? WORDS.none : WORDS.noneOfYours}</p>
      ) : (
        <List tokens={data.tokens} onRevoke={setEnding} />
      )}
      {roles.length > 0 && (
        <Make
          roles={roles}
          onMade={(answer) => {
            setMade(answer);
            again();
          }}
        />
      )}
      {made !== null && <Secret key={made.token.id} made={made} onDone={() => setMade(null)} />}
      {ending !== null && (
        <Confirm
          title={WORDS.revokeTitle(ending.name)}
          text={WORDS.revokeText}
          action={WORDS.revoke}
          danger
          onConfirm={() => void revoke(ending)}
          onClose={() => setEnding(null)}
        />
      )}
    </section>
  );
}

interface ListProps {
  tokens: readonly TokenView[];
  onRevoke: (token: TokenView) => void;
}

function List({ tokens, onRevoke }: ListProps): JSX.Element {
  const { columns } = WORDS;
  const now = useNow(false);
  return (
    <table class="plain-table tokens-table">
      <thead>
        <tr>
          <th scope="col">{columns.name}</th>
          <th scope="col">{columns.expires}</th>
          <th scope="col">{columns.used}</th>
          <td />
        </tr>
      </thead>
      <tbody>
        {tokens.map((token) => (
          <tr key={token.id} data-testid="token-row">
            <th scope="row">
              <strong class="breaks">{token.name}</strong>
              <span class="muted small-text below">
                {texts.team.roles[token.role]} · {WORDS.made(token.made_by, day(token.made_at, now))}
              </span>
              <Bound token={token} />
            </th>
            <td>
              <Expires at={token.expires_at} now={now} />
            </td>
            <td class="number">
              {token.last_used === null ? (
                <span class="muted" title={WORDS.unusedTitle}>
                  {WORDS.unused}
                </span>
              ) : (
                calendarDay(token.last_used, now)
              )}
            </td>
            <td class="num">
              <Button
                class="ghost square"
                icon="trash"
                aria-label={WORDS.revokeOf(token.name)}
                onClick={() => onRevoke(token)}
              />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What it is worth, where its maker may do less by now than it was made for. */
function Bound({ token }: { token: TokenView }): JSX.Element | null {
  if (token.present_role === token.role) return null;
  return (
    <span class="warn-text small-text below">
      {token.present_role === null
        ? WORDS.refused(token.made_by)
        : WORDS.bound(token.made_by, texts.team.roles[token.present_role])}
    </span>
  );
}

function Expires({ at, now }: { at: string; now: number }): JSX.Element {
  const days = Math.ceil((Date.parse(at) - now) / DAY_MS);
  return (
    <>
      <span class="number">{day(at, now)}</span>
      <span class={`${days <= SOON_DAYS ? "warn-text" : "muted"} small-text below`}>{WORDS.inDays(days)}</span>
    </>
  );
}

interface MakeProps {
  roles: readonly Role[];
  onMade: (answer: TokenAnswer) => void;
}

function Make({ roles, onMade }: MakeProps): JSX.Element {
  const { api } = usePage();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("member");
  const [days, setDays] = useState(USUAL_DAYS);
  const [error, setError] = useState<ApiError | null>(null);
  const [sending, setSending] = useState(false);
  const wishKey = useWishKey();
  const id = useId();
  const about = (field: string) => (error?.field === field ? error.message : null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (sending) return;
    const wanted = { name: name.trim(), role, ...(days === "" ? {} : { days: Number(days) }) };
    if (wanted.name === "") return setError(new ApiError(0, "missing", WORDS.nameMissing, "name"));
    setSending(true);
    try {
      onMade(await api.makeToken(wanted, wishKey.of(JSON.stringify(wanted))));
      wishKey.done();
      setName("");
      setError(null);
    } catch (problem) {
      setError(asApiError(problem));
    } finally {
      setSending(false);
    }
  };
  const elsewhere = error !== null && !["name", "role", "days"].includes(error.field ?? "") ? error.message : null;
  return (
    <form class="tokens-form" onSubmit={(event) => void submit(event)} noValidate>
      <Field
        id={`${id}n`}
        class="tokens-name"
        label={WORDS.name}
        hint={WORDS.nameHint}
        error={about("name")}
        input={
          <input
            value={name}
            autocomplete="off"
            data-testid="token-name"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        }
      />
      <div class="field">
        <label for={`${id}r`}>{texts.team.role}</label>
        <select
          id={`${id}r`}
          value={role}
          aria-describedby={`${id}r-note`}
          onChange={(event) => setRole(event.currentTarget.value as Role)}
        >
          {roles.map((each) => (
            <option key={each} value={each}>
              {texts.team.roles[each]}
            </option>
          ))}
        </select>
        {about("role") === null ? (
          <p id={`${id}r-note`} class="field-hint">
            {WORDS.roleMeanings[role]}
          </p>
        ) : (
          <p id={`${id}r-note`} class="field-error" role="alert">
            {about("role")}
          </p>
        )}
      </div>
      <Field
        id={`${id}d`}
        label={WORDS.days}
        hint={WORDS.daysHint}
        error={about("days")}
        input={
          <input
            type="number"
            inputMode="numeric"
            min="1"
            value={days}
            placeholder={USUAL_DAYS}
            data-testid="token-days"
            onInput={(event) => setDays(event.currentTarget.value)}
          />
        }
      />
      <button type="submit" class="button" data-testid="token-make" aria-disabled={sending}>
        {WORDS.make}
      </button>
      {elsewhere !== null && (
        <p class="field-error tokens-error" role="alert">
          {elsewhere}
        </p>
      )}
    </form>
  );
}

/** The one time that a secret is seen. It has the focus, so that whoever doesn't look hears of it too. */
function Secret({ made, onDone }: { made: TokenAnswer; onDone: () => void }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const id = useId();
  useEffect(() => box.current?.focus(), []);
  return (
    <div ref={box} class="token" role="group" aria-labelledby={id} tabIndex={-1} data-testid="token-secret">
      <p id={id}>
        <strong>{WORDS.madeNow(made.token.name)}</strong> {WORDS.once}
      </p>
      <div class="code">
        <pre tabIndex={0} aria-label={WORDS.secret}>
          {made.secret}
        </pre>
      </div>
      <p class="small-text tokens-use">
        {WORDS.use} <code class="breaks">{WORDS.command(location.origin)}</code>
      </p>
      <div class="tokens-done">
        <CopyButton text={made.secret} />
        <button type="button" class="button small" data-testid="token-done" onClick={onDone}>
          {WORDS.done}
        </button>
      </div>
    </div>
  );
}
