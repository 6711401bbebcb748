"""Writes src/contract.ts: the web client's types, job states and close codes, from the structs that the services share.

Run from the repository's root: `python -m services.web.scripts.generate_types`. A test compares the file with what this
makes, so that the browser can't drift from the services. It knows the contract and nothing of the client.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import inspect as shapes

from shared.contract import pictures, stream
from shared.contract.api import admin, announcements, datasets, errors, jobs, models, room, teams, tokens
from shared.contract.jobs import ASSIGNED, TERMINAL, JobState, Trigger, sources_of
from shared.contract.starting_models import STARTING_MODELS

# What the client is told and asks. Not the claims: they are the services' own.
API = (errors, jobs, teams, tokens, room, announcements, admin, datasets, models)

TARGET = Path(__file__).resolve().parent.parent / "src" / "contract.ts"

HEADER = """\
// The shapes that the services send and are sent. Made by scripts/generate_types.py from shared/contract: don't edit, run it again.

/** RFC 3339, UTC. */
export type Timestamp = string;

/** RFC 3339's full-date: 2026-03-14. */
export type CalendarDay = string;
"""


def render() -> str:
    """The whole of contract.ts."""
    roots = shapes.multi_type_info(
        [stream.SnapshotFrame, stream.EventsFrame, *(s for part in API for s in _defined(part))]
    )
    structs = reachable(roots)
    blocks = [HEADER, _states()]
    blocks += [_interface(struct) for _, struct in sorted(structs.items())]
    blocks.append(f"export type StreamEvent = {_names(stream.StreamEvent.__args__)};\n")
    blocks.append(f"export type Frame = {_names(stream.Frame.__args__)};\n")
    blocks.append(
        f"/** Websocket close codes. */\nexport const CLOSE_RESUME = {stream.CLOSE_RESUME};\n"
        f"export const CLOSE_UNAUTHORIZED = {stream.CLOSE_UNAUTHORIZED};\n"
        f"export const CLOSE_FORBIDDEN = {stream.CLOSE_FORBIDDEN};\n"
        f"/** With CLOSE_FORBIDDEN, and the code of an error: the token itself was revoked. */\n"
        f"export const REASON_REVOKED = {json.dumps(stream.REASON_REVOKED)};\n"
    )
    blocks.append(
        "/** Scores from 0 to 1: found boxes below it aren't kept. */\n"
        f"export const LEAST_SCORE = {pictures.LEAST_SCORE};\n"
    )
    blocks.append(
        "/** A line that brings no frame for so many seconds is dead. */\n"
        f"export const SILENCE_SECONDS = {stream.SILENCE_SECONDS};\n"
    )
    blocks.append(
        f"/** Characters. */\nexport const LONGEST_ANNOUNCEMENT = {announcements.LONGEST_ANNOUNCEMENT};\n"
    )
    names = "".join(f"  {json.dumps(model.key)}: {json.dumps(model.name)},\n" for model in STARTING_MODELS.values())
    blocks.append(
        "/** Shown names by key. A service may know newer ones. */\n"
        f"export const STARTING_MODEL_NAMES: Readonly<Record<string, string>> = {{\n{names}}};\n"
    )
    return "\n".join(blocks)


def _states() -> str:
    def constant(name: str, states: Iterable[JobState], comment: str) -> str:
        values = sorted(states, key=list(JobState).index)
        listed = ", ".join(json.dumps(state.value) for state in values)
        return f"/** {comment} */\nexport const {name}: ReadonlySet<JobState> = new Set<JobState>([{listed}]);\n"

    names = "".join(f"  {json.dumps(state.value)},\n" for state in JobState)
    return "\n".join(
        [
            f"export const JOB_STATES = [\n{names}] as const;\nexport type JobState = (typeof JOB_STATES)[number];\n",
            constant("TERMINAL", TERMINAL, "A job in one of these has ended."),
            constant("ASSIGNED", ASSIGNED, "A trainer holds the job, or is about to."),
            constant("STOPPABLE", sources_of(Trigger.STOP), "Stop is possible in these."),
        ]
    )


def _interface(struct: shapes.StructType) -> str:
    lines = []
    if struct.tag_field is not None:
        lines.append(f"  {struct.tag_field}: {json.dumps(struct.tag)};")
    lines += [
        f"  {field.encode_name}{'?' if _may_lack(struct, field) else ''}: {typescript(field.type)};"
        for field in struct.fields
    ]
    doc = inspect.getdoc(struct.cls) or ""
    comment = "/** " + "\n * ".join(line for line in doc.splitlines() if line) + " */"
    return f"{comment}\nexport interface {struct.cls.__name__} {{\n" + "\n".join(lines) + "\n}\n"


def _may_lack(struct: shapes.StructType, field: shapes.Field) -> bool:
    """Whether a field may be left out.

    The services send every field, also one with a default, but for those that are UNSET (msgspec then tells of no default).
    Who asks (requests alone forbid unknown fields) may leave out what has a default.
    """
    if field.required:
        return False
    unset = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
    return unset or struct.forbid_unknown_fields


def typescript(kind: shapes.Type) -> str:
    """The TypeScript type of what msgspec writes for `kind`. Raises TypeError for one that the contract has no use for."""
    match kind:
        case shapes.AnyType():
            return "unknown"
        case shapes.NoneType():
            return "null"
        case shapes.BoolType():
            return "boolean"
        case shapes.IntType() | shapes.FloatType():
            return "number"
        case shapes.StrType():
            return "string"
        case shapes.DateTimeType():
            return "Timestamp"
        case shapes.DateType():
            return "CalendarDay"
        case shapes.EnumType(cls=cls):
            return cls.__name__
        case shapes.LiteralType(values=values):
            return " | ".join(json.dumps(value) for value in values)
        case shapes.StructType(cls=cls):
            return cls.__name__
        case shapes.ListType(item_type=item):
            inner = typescript(item)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case shapes.DictType(value_type=value):
            return f"Record<string, {typescript(value)}>"
        case shapes.UnionType(types=types):
            return " | ".join(
                typescript(each) for each in sorted(types, key=lambda each: isinstance(each, shapes.NoneType))
            )
        case _:
            raise TypeError(f"no TypeScript type is known for {kind!r}")


def _defined(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The structs that are the module's own."""
    values = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, msgspec.Struct)]
    return [value for value in values if value.__module__ == module.__name__]


def reachable(kinds: Iterable[shapes.Type]) -> dict[str, shapes.StructType]:
    """Every struct that can be reached, by name. Raises TypeError for two of one name."""
    found: dict[str, shapes.StructType] = {}
    left = list(kinds)
    while left:
        match left.pop():
            case shapes.StructType(cls=cls) as struct:
                known = found.setdefault(cls.__name__, struct)
                if known.cls is not cls:
                    raise TypeError(f"two structs are named {cls.__name__}: {known.cls.__module__}, {cls.__module__}")
                if known is struct:
                    left += [field.type for field in struct.fields]
            case shapes.ListType(item_type=inner) | shapes.DictType(value_type=inner):
                left.append(inner)
            case shapes.UnionType(types=types):
                left += types
            case _:
                pass
    return found


def _names(structs: Iterable[type[msgspec.Struct]]) -> str:
    return " | ".join(struct.__name__ for struct in structs)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
