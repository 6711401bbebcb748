"""The query and update language of documents, as far as our stores use it. Pure.

What isn't known here raises NotImplementedError, never a wrong answer; tests/integration/test_memory_store.py holds it against
the real store.
"""

from __future__ import annotations

import operator as op
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from pymongo.errors import WriteError

from shared.runtime.mongo import Document

_CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
_MISSING: Any = object()


def through_bson(document: Mapping[str, Any]) -> Document:
    """A copy as the store would keep it: times lose their microseconds, enumerations become text."""
    return bson.decode(bson.encode(document), _CODEC)


def copied(value: Any) -> Any:
    """A copy of a document, an array or a value."""
    if isinstance(value, dict):
        return {name: copied(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value


# --- queries -------------------------------------------------------------------------------------------------------------


def matches(document: Document, query: Mapping[str, Any]) -> bool:
    """Whether the document is one of those that the query asks for."""
    return all(_holds(list(_values(document, path.split("."))), path, condition) for path, condition in query.items())


def _holds(values: list[Any], path: str, condition: Any) -> bool:
    if path.startswith("$"):
        raise NotImplementedError(f"{path} at the top of a query")
    if not is_condition(condition):
        return _any_equal(values, condition)
    return all(_compare(values, operator, operand) for operator, operand in condition.items())


def _compare(values: list[Any], operator: str, operand: Any) -> bool:
    match operator:
        case "$in":
            return any(_any_equal(values, one) for one in operand)
        case "$ne":
            return not _any_equal(values, operand)
        case "$exists":
            return any(value is not _MISSING for value in values) == bool(operand)
        case "$not":
            if not is_condition(operand):
                raise NotImplementedError("$not of a value")
            return not all(_compare(values, inner, wanted) for inner, wanted in operand.items())
        case "$gt" | "$gte" | "$lt" | "$lte":
            return any(_in_order(value, operator, operand) for value in values)
        case _:
            raise NotImplementedError(f"{operator} in a query")


def _in_order(value: Any, operator: str, operand: Any) -> bool:
    """Only values of one kind are compared: nothing is less than a time but another time."""
    if _kind(operand) not in ("number", "text", "time"):
        raise NotImplementedError(f"{operator} {operand!r}")
    if value is _MISSING or _kind(value) != _kind(operand):
        return False
    compare = {"$gt": op.gt, "$gte": op.ge, "$lt": op.lt, "$lte": op.le}[operator]
    return bool(compare(value, operand))


def _any_equal(values: list[Any], wanted: Any) -> bool:
    if wanted is None:
        return any(value is None or value is _MISSING for value in values)
    return any(value is not _MISSING and _kind(value) == _kind(wanted) and value == wanted for value in values)


def _values(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """What a dotted path leads to: an array leads to itself and to each of its elements."""
    if not path:
        yield value
        if isinstance(value, list):
            yield from value
        return
    name, rest = path[0], path[1:]
    if isinstance(value, dict):
        if name in value:
            yield from _values(value[name], rest)
        else:
            yield _MISSING
    elif isinstance(value, list):
        if name.isdecimal():
            yield from _values(value[int(name)], rest) if int(name) < len(value) else (_MISSING,)
        for element in value:
            if isinstance(element, dict) and not name.isdecimal():
                yield from _values(element, path)
    else:
        yield _MISSING


def is_condition(value: Any) -> bool:
    """Whether it is operators with their operands, not a value to be equal to."""
    return isinstance(value, dict) and any(str(name).startswith("$") for name in value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, datetime) else type(value).__name__


def sort_key(document: Document, path: str) -> tuple[int, Any]:
    """By what documents are sorted: what has no value comes first."""
    value = next(_values(document, path.split(".")))
    if value is None or value is _MISSING:
        return 0, 0
    return 1 + ("number", "text", "time").index(_kind(value)), value


def projected(document: Document, projection: Document | None) -> Document:
    """A copy of the document with the named fields alone."""
    if not projection:
        return dict(copied(document))
    if any(wanted != 1 for wanted in projection.values()):
        raise NotImplementedError(f"projection {projection}")
    result: Document = {"_id": document["_id"]}
    for path in projection:
        *parents, name = path.split(".")
        source, target = document, result
        for parent in parents:
            if parent not in source:
                break
            source, target = source[parent], target.setdefault(parent, {})
            if not isinstance(source, dict):
                raise NotImplementedError(f"projection {path} into {type(source).__name__}")
        else:
            if name in source:
                target[name] = copied(source[name])
    return result


# --- updates -------------------------------------------------------------------------------------------------------------


def updated(document: Document, where: Document, update: Mapping[str, Any]) -> Document:
    """The document after an update; `where` tells which element `$` means."""
    after: Document = copied(document)
    touched: list[str] = []
    for operator, fields in update.items():
        for path, operand in through_bson(fields).items():
            if any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in touched):
                raise WriteError(f"Updating the path {path!r} would create a conflict", 40)
            touched.append(path)
            parent, name = _place(after, path, where)
            _apply(operator, parent, name, operand)
    if document:
        _same_id(document, after)
    return after


def _apply(operator: str, parent: Any, name: Any, operand: Any) -> None:
    there = parent[name] if isinstance(parent, list) else parent.get(name, _MISSING)
    match operator:
        case "$set":
            parent[name] = operand
        case "$inc":
            if there is not _MISSING and _kind(there) != "number":
                raise WriteError(f"Cannot apply $inc to {name!r}, which is no number", 14)
            parent[name] = operand + (0 if there is _MISSING else there)
        case "$push":
            if there is not _MISSING and not isinstance(there, list):
                raise WriteError(f"The field {name!r} must be an array", 2)
            if is_condition(operand) and operand.keys() != {"$each"}:
                raise NotImplementedError(f"$push with {sorted(operand)}")
            more = operand["$each"] if is_condition(operand) else [operand]
            parent[name] = ([] if there is _MISSING else there) + more
        case "$pull":
            if there is _MISSING:
                return
            if not isinstance(there, list):
                raise WriteError("Cannot apply $pull to a non-array value", 2)
            parent[name] = [element for element in there if not _pulled(element, operand)]
        case _:
            raise NotImplementedError(f"{operator} in an update")


def _pulled(element: Any, condition: Any) -> bool:
    if is_condition(condition):
        raise NotImplementedError("$pull of values by an operator")
    if isinstance(condition, dict):
        return isinstance(element, dict) and matches(element, condition)
    return _any_equal([element], condition)


def _place(document: Document, path: str, where: Document) -> tuple[Any, Any]:
    """The innermost container of a path, made where it isn't there, and the last name."""
    *parents, last = path.split(".")
    place: Any = document
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else place[int(parent)]
    if last == "$":
        array = ".".join(parents)
        asked = {key[len(array) + 1 :]: value for key, value in where.items() if key.startswith(f"{array}.")}
        return place, next(index for index, element in enumerate(place) if matches(element, asked))
    if isinstance(place, list):
        raise NotImplementedError(f"an element of an array by {path!r}")
    if not isinstance(place, dict):
        raise WriteError(f"Cannot create field {last!r} in an element that is no document", 28)
    return place, last


def _same_id(before: Document, after: Document) -> None:
    if after.get("_id", before["_id"]) != before["_id"]:
        raise WriteError("the (immutable) field '_id' was found to have been altered", 66)
