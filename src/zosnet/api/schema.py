"""JSON from frozen dataclasses, and the JSON Schema that describes it.

The dataclasses of `service.views` are the one declaration of what the API says: a body is rendered from
them, a request is parsed into them, and the OpenAPI document describes them. Names stay as they are; keys,
addresses and prefixes become text.

`validate` knows the part of JSON Schema (2020-12) that `schema_of` writes, nothing more.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any

from zosnet.model.errors import UsageError

__all__ = ["Schema", "parse", "render", "schema_of", "validate"]

Schema = dict[str, Any]

_SIMPLE: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def schema_of(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """The JSON Schema of a type. Dataclasses go into `definitions` and are referred to by name."""
    if kind is Any:
        return {}
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [schema_of(item, definitions) for item in arguments]}
    if origin in {list, tuple}:
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], definitions)}
    if dataclasses.is_dataclass(kind):
        return _dataclass_schema(kind, definitions)
    return {"type": "string"}


def _dataclass_schema(kind: Any, definitions: dict[str, Schema]) -> Schema:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        hints = _hints(kind)
        fields = dataclasses.fields(kind)
        definitions[name] = {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()),
            "properties": {
                _key(field): schema_of(hints[field.name], definitions) | _description(field)
                for field in fields
            },
            "required": [_key(field) for field in fields if _is_required(field)],
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{name}"}


@cache
def _names(kind: Any) -> tuple[tuple[str, str], ...]:
    """What each field is called in JSON, and here."""
    return tuple((_key(field), field.name) for field in dataclasses.fields(kind))


def _key(field: dataclasses.Field[Any]) -> str:
    """A field is named in JSON as in Python, unless its metadata says otherwise."""
    return str(field.metadata.get("key", field.name))


def _description(field: dataclasses.Field[Any]) -> Schema:
    text = field.metadata.get("help")
    return {"description": text} if text else {}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def render(value: Any) -> Any:
    """What `json.dumps` takes, from a dataclass, a collection or a plain value."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: render(getattr(value, name)) for key, name in _names(type(value))}
    if isinstance(value, dict):
        return {str(key): render(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [render(item) for item in value]
    return str(value)


def parse(kind: type[Any], document: Any) -> Any:
    """A flat dataclass from a decoded JSON body. Raises UsageError naming the first field that is wrong."""
    definitions: dict[str, Schema] = {}
    schema = schema_of(kind, definitions)
    trouble = validate(schema, document, definitions)
    if trouble:
        raise UsageError(f"the request's body is wrong: {trouble[0]}", remedy="see GET /openapi.json")
    names = {_key(field): field.name for field in dataclasses.fields(kind)}
    return kind(**{names[key]: value for key, value in document.items()})


def validate(schema: Schema, value: Any, definitions: dict[str, Schema], where: str = "body") -> list[str]:
    """What is wrong with `value` under `schema`; an empty list means that it fits."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        found = [validate(option, value, definitions, where) for option in schema["anyOf"]]
        return [] if any(not trouble for trouble in found) else found[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where} must be one of {schema['enum']}"]
    kind = schema.get("type")
    if kind is not None and not _has_type(kind, value):
        return [f"{where} must be of type {kind}"]
    if kind == "array":
        items = schema.get("items", {})
        return [
            t for n, item in enumerate(value) for t in validate(items, item, definitions, f"{where}[{n}]")
        ]
    return _object_trouble(schema, value, definitions, where) if kind == "object" else []


def _object_trouble(schema: Schema, value: Any, definitions: dict[str, Schema], where: str) -> list[str]:
    trouble = [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            trouble += validate(properties[name], item, definitions, f"{where}.{name}")
        elif others is False:
            trouble.append(f"{where}.{name} is not a known field")
        elif isinstance(others, dict):
            trouble += validate(others, item, definitions, f"{where}.{name}")
    return trouble


def _has_type(kind: str, value: Any) -> bool:
    # JSON knows true and false, which Python also counts as integers.
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)
