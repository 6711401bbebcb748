/** The people of a team: who they are, what they may do; for mentors, how to change that. */
import type { JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api";
import type { Member, MemberAnswer, TeamAnswer } from "../contract";
import { date } from "../format";
import { texts } from "../texts";
import { Button, Confirm } from "./bits";
import { carryOut } from "./commands";
import { usePage } from "./context";
import { CopyButton } from "./copy";
import { useDraft } from "./draft";
import { Field } from "./field";

type Role = Member["role"];
const ROLES: readonly Role[] = ["viewer", "member", "mentor"];

interface Props {
  answer: TeamAnswer;
  mentor: boolean;
  onChanged: () => void;
  onTeam: (answer: TeamAnswer) => void;
}

export function Members({ answer, mentor, onChanged, onTeam }: Props): JSX.Element {
  const page = usePage();
  const [made, setMade] = useState<MemberAnswer | null>(null);
  const [removing, setRemoving] = useState<Member | null>(null);
  const put = async (name: string, role: Role) => {
    const added = await page.api.putMember(name, role);
    onChanged();
    return added;
  };
  return (
    <section class="card pad" data-testid="members">
      <h2>{texts.team.members}</h2>
      <p class="muted small-text">{mentor ? texts.team.membersHint : texts.team.membersOnly}</p>
      {answer.members.length === 0 ? (
        <p class="muted">{texts.team.membersNone}</p>
      ) : (
        <table class="plain-table">
          <tbody>
            {answer.members.map((member) => (
              <tr key={member.name}>
                <th scope="row">
                  {member.name}
                  <span class="muted small-text below">{texts.team.added(member.added_by, date(member.added_at))}</span>
                </th>
                <td>
                  {mentor ? (
                    <RoleSelect
                      label={texts.team.roleOf(member.name)}
                      role={member.role}
                      onChange={(role) => void carryOut(page, () => put(member.name, role))}
                    />
                  ) : (
                    texts.team.roles[member.role]
                  )}
                </td>
                {mentor && (
                  <td class="num">
                    <Button
                      class="ghost square"
                      icon="trash"
                      aria-label={texts.team.remove(member.name)}
                      onClick={() => setRemoving(member)}
                    />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {mentor && <AddMember onAdd={async (name, role) => setMade(await put(name, role))} />}
      {made !== null && <Token made={made} />}
      {mentor ? (
        <Cap minutes={answer.member_cap_minutes} onTeam={onTeam} />
      ) : (
        answer.member_cap_minutes !== null && <p class="muted">{texts.team.cap(answer.member_cap_minutes)}</p>
      )}
      {removing !== null && (
        <Confirm
          title={texts.team.removeTitle(removing.name)}
          text={texts.team.removeText}
          action={texts.team.removeAction}
          danger
          onConfirm={() =>
            void carryOut(page, async () => {
              await page.api.removeMember(removing.name);
              onChanged();
            })
          }
          onClose={() => setRemoving(null)}
        />
      )}
    </section>
  );
}

interface RoleSelectProps {
  label: string;
  role: Role;
  onChange: (role: Role) => void;
}

function RoleSelect({ label, role, onChange }: RoleSelectProps): JSX.Element {
  return (
    <select aria-label={label} value={role} onChange={(event) => onChange(event.currentTarget.value as Role)}>
      {ROLES.map((each) => (
        <option key={each} value={each} title={texts.team.roleMeanings[each]}>
          {texts.team.roles[each]}
        </option>
      ))}
    </select>
  );
}

function AddMember({ onAdd }: { onAdd: (name: string, role: Role) => Promise<void> }): JSX.Element {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("member");
  const [error, setError] = useState<ApiError | null>(null);
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (name.trim() === "") return setError(asApiError(new Error(texts.team.nameMissing)));
    try {
      await onAdd(name.trim(), role);
      setName("");
      setError(null);
    } catch (problem) {
      setError(asApiError(problem));
    }
  };
  return (
    <form class="inline-form" onSubmit={(event) => void submit(event)} noValidate>
      <Field
        id={`${id}n`}
        class="grow"
        label={texts.team.addName}
        hint={texts.team.roleMeanings[role]}
        error={error?.message ?? null}
        input={
          <input
            value={name}
            autocomplete="off"
            data-testid="member-name"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        }
      />
      <div class="field role-field">
        <span class="field-name" aria-hidden="true">
          {texts.team.role}
        </span>
        <RoleSelect label={texts.team.role} role={role} onChange={setRole} />
      </div>
      <button type="submit" class="button" data-testid="member-add">
        {texts.team.add}
      </button>
    </form>
  );
}

function Token({ made }: { made: MemberAnswer }): JSX.Element {
  return (
    <div class="token" role="status" data-testid="member-token">
      <p>{texts.team.token(made.member.name, made.days)}</p>
      <div class="code">
        <CopyButton text={made.token} />
        <pre tabIndex={0}>{made.token}</pre>
      </div>
    </div>
  );
}

function Cap({ minutes, onTeam }: { minutes: number | null; onTeam: (answer: TeamAnswer) => void }): JSX.Element {
  const { api } = usePage();
  const [value, setValue] = useDraft(minutes === null ? "" : String(minutes));
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const id = useId();
  const submit = async (event: Event) => {
    event.preventDefault();
    // What isn't a number is empty to the page: it would take the cap away.
    if (field.current?.validity.badInput === true) return setError(asApiError(new Error(texts.team.capWrong)));
    try {
      onTeam(await api.setCap(value === "" ? null : Number(value)));
      setError(null);
    } catch (problem) {
      setError(asApiError(problem));
    }
  };
  return (
    <form class="inline-form" onSubmit={(event) => void submit(event)} noValidate>
      <Field
        id={`${id}c`}
        class="grow"
        label={texts.team.capLabel}
        hint={texts.team.capHint}
        error={error?.message ?? null}
        after={texts.start.minutes}
        input={
          <input
            ref={field}
            type="number"
            inputMode="numeric"
            min="0"
            placeholder={texts.team.capNone}
            value={value}
            onInput={(event) => setValue(event.currentTarget.value)}
          />
        }
      />
      <button type="submit" class="button">
        {texts.save}
      </button>
    </form>
  );
}
