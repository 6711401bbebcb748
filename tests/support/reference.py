"""What documents say of the code, made from it: services/README.md (every HTTP route and setting) and the diagram of the job
states in ARCHITECTURE.md.

    python -m tests.support.reference        writes both anew

Owns how the routes are found: each is a call of `web.<method>(path, self.<handler>)`; who may is the role that the handler
requires, the body is the struct that it reads, and what it is for is the first sentence of its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from services.dataset.settings import DatasetSettings
from services.scheduler.settings import SchedulerSettings
from services.status.settings import StatusSettings
from services.trainer.settings import TrainerSettings
from shared.contract import diagram
from shared.runtime.settings import CommonSettings, ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "services" / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
SERVICES = ("dataset", "scheduler", "status")
SETTINGS: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("all services", ServiceSettings),
    ("dataset, scheduler and status", CommonSettings),
    ("dataset", DatasetSettings),
    ("scheduler", SchedulerSettings),
    ("trainer", TrainerSettings),
    ("status", StatusSettings),
)
_METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}
_INTRODUCTION = """# The interface of the services

Made from the code by `make generate`; a test fails where it isn't what the code says.

The gateway has all of it under one address. A request carries a token as `Authorization: Bearer …`, or as the page's cookie.
Roles include each other: viewer, member, mentor, admin; `service` is what the services say to each other. An error is
`{"error": {"code", "message", "field", …}}` with a status of 400 and above; the codes are in `shared/contract/errors.py` and
beside what raises them. Requests that make something take an `Idempotency-Key`: sent again with it, nothing is made twice.
Structs are in `shared/contract/api/`, as TypeScript in `services/web/src/contract.ts`; frames of the websocket `/api/ws` in
`shared/contract/stream.py`. Every process has `/healthz`, `/readyz` and, for Prometheus, `/metrics` on its own port, which the
gateway doesn't pass on.
"""

Function = ast.AsyncFunctionDef | ast.FunctionDef


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row: who is a role or what else lets one in, `body` the struct of a JSON request, empty for none."""

    method: str
    path: str
    who: str
    body: str
    purpose: str


def render() -> str:
    """The whole file."""
    parts = [_INTRODUCTION, "## Routes\n"]
    for service in SERVICES:
        rows = [
            f"| `{route.method} {route.path}` | {route.who} | {f'`{route.body}`' if route.body else ''} | {route.purpose} |"
            for route in routes(service)
        ]
        parts.append("\n".join([f"### {service}\n", "| Route | Who | Body | What |", "|---|---|---|---|", *rows, ""]))
    parts.append(
        "## Settings\n\nEnvironment variables, checked at the start. `make up` takes them from an `.env` file as well; "
        "docker-compose.yml says\nwhich it hands on. The stack's own (`TRAINYARD_PORT`, `TRAINERS`, …) are in the "
        "[README](../README.md).\n"
    )
    for name, kind in SETTINGS:
        rows = [_setting(field, info) for field, info in _own_fields(kind)]
        parts.append("\n".join([f"### {name}\n", "| Variable | Default | What |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def routes(service: str) -> list[Route]:
    """The routes of a service, in the order of its files."""
    modules = [ast.parse(path.read_text()) for path in sorted((ROOT / "services" / service).glob("*.py"))]
    constants = {name: value for module in modules for name, value in _constants(module)}
    everywhere = {name: function for module in modules for name, function in _functions(ast.walk(module)).items()}
    return [
        route
        for module in modules
        for table in ast.walk(module)
        if isinstance(table, ast.ClassDef)
        for route in _routes_of(table, constants, everywhere | _functions(ast.walk(module)) | _functions(table.body))
    ]


def _constants(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in module.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _functions(nodes: Iterable[ast.AST]) -> dict[str, Function]:
    return {node.name: node for node in nodes if isinstance(node, Function)}


def _routes_of(table: ast.ClassDef, constants: dict[str, ast.expr], functions: dict[str, Function]) -> Iterator[Route]:
    for call in ast.walk(table):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="web"), attr=method), args=[path, handler, *_]):
                if method not in _METHODS:
                    continue
                names = [node.attr for node in ast.walk(handler) if isinstance(node, ast.Attribute)]
                function = [functions[name] for name in names if name in functions][-1]  # it may be wrapped
                calls = list(_calls(function, functions, set()))
                yield Route(
                    method=method.upper(),
                    path=re.sub(r"{(\w+):.*?}(?=[./]|$)", r"{\1}", _text(path, constants)),
                    who=_who(calls),
                    body=next((ast.unparse(call.args[1]) for call in calls if _is(call, "body")), ""),
                    purpose=_first_sentence(function),
                )
            case _:
                pass


def _text(path: ast.expr, constants: dict[str, ast.expr]) -> str:
    match path:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name in constants:
            return _text(constants[name], constants)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) for part in parts)
        case ast.FormattedValue(value=inner):
            return _text(inner, constants)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _text(left, constants) + _text(right, constants)
        case _:
            pass
    raise ValueError(f"line {path.lineno}: {ast.unparse(path)} is neither a text nor a constant of its module")


def _calls(function: Function, functions: dict[str, Function], seen: set[str]) -> Iterator[ast.Call]:
    """What a handler calls, also through its own class's methods and its module's functions."""
    seen.add(function.name)
    for node in ast.walk(function):
        match node:
            case ast.Call():
                yield node
                called = node.func.id if isinstance(node.func, ast.Name) else ""
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                called = name
            case _:
                continue
        if called in functions and called not in seen:
            yield from _calls(functions[called], functions, seen)


def _who(calls: list[ast.Call]) -> str:
    for call in calls:
        match call:
            case ast.Call(args=[_, ast.Constant(value=str(role))]) if _is(call, "require"):
                return role
            case _:
                pass
    return "any token" if any(_is(call, "principal") for call in calls) else "anybody"


def _is(call: ast.Call, name: str) -> bool:
    return name in (getattr(call.func, "id", None), getattr(call.func, "attr", None))


def _first_sentence(function: Function) -> str:
    text = " ".join((ast.get_docstring(function) or "").split())
    if not text:
        raise ValueError(f"{function.name} has no docstring")
    return re.split(r"(?<=[.:])\s(?=[A-Z])", text)[0].rstrip(".:")


def _own_fields(kind: type[ServiceSettings]) -> list[tuple[str, FieldInfo]]:
    """The fields that a class adds, or gives another default."""
    inherited: dict[str, FieldInfo] = getattr(kind.__base__, "model_fields", {})
    fields = kind.model_fields.items()
    return [(name, info) for name, info in fields if name not in inherited or info.default != inherited[name].default]


def _setting(name: str, info: FieldInfo) -> str:
    if info.is_required():
        default = "none, it must be set"
    elif info.default_factory is not None:
        default = "a folder for temporary files"
    else:
        default = _shown(info.default)
    return f"| `{name.upper()}` | {default} | {info.description or _choices(info)} |"


def _shown(default: object) -> str:
    """A default as one would type it."""
    match default:
        case None | "" | {}:
            return ""
        case list():
            return f"`{','.join(map(str, default))}`"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
        case _:
            return f"`{default}`"


def _choices(info: FieldInfo) -> str:
    return ", ".join(map(str, getattr(info.annotation, "__args__", ())))


def with_diagram(text: str) -> str:
    """ARCHITECTURE.md with the diagram as the table of states has it now."""
    begin, end = "<!-- states:begin -->\n", "\n<!-- states:end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    return f"{before}{begin}{diagram.render()}{end}{after}"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    ARCHITECTURE.write_text(with_diagram(ARCHITECTURE.read_text()), encoding="utf-8")
