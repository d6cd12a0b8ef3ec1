"""The OpenAPI 3.1 document of a table of operations."""

from __future__ import annotations

import re
from typing import Any

from zosnet.api.operation import Operation
from zosnet.api.schema import Schema, schema_of

__all__ = ["document"]

_ERROR: Schema = {
    "type": "object",
    "description": "Every error has this shape.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["usage", "host", "peer", "no"]},
                "message": {"type": "string"},
                "remedy": {"type": "string"},
            },
            "required": ["kind", "message", "remedy"],
        }
    },
    "required": ["error"],
}


def document(title: str, version: str, operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Describe `operations`; what they take and give comes from their dataclasses."""
    schemas: dict[str, Schema] = {"Error": _ERROR}
    paths: dict[str, Any] = {}
    for operation in operations:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _describe(operation: Operation, path: str, schemas: dict[str, Schema]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *(_parameter(name, "path", "string", "") for name in re.findall(r"\{(\w+)\}", path)),
            *(_parameter(query.name, "query", query.kind, query.help) for query in operation.query),
        ],
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of(operation.body, schemas)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(name: str, where: str, kind: str, text: str) -> dict[str, Any]:
    found = {"name": name, "in": where, "required": where == "path", "schema": {"type": kind}}
    return found | ({"description": text} if text else {})


def _responses(operation: Operation, schemas: dict[str, Schema]) -> dict[str, Any]:
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: dict[str, Any] = {}
    if operation.answer is None:
        found["204"] = {"description": "done, nothing to say"}
    else:
        media = "application/x-ndjson" if operation.stream else operation.media
        schema = schema_of(operation.answer, schemas)
        found[str(operation.status)] = {
            "description": operation.summary,
            "content": {media: {"schema": schema}},
        }
    crowded = (429, 503) if operation.may_wait else ()
    for status in sorted({400, 500, *crowded, *operation.failures} - {204}):
        found[str(status)] = {"description": _MEANING[status], "content": failure}
    if 204 in operation.failures:
        found["204"] = {"description": "there is none"}
    return found


_MEANING = {
    400: "the request is wrong",
    404: "there is no such thing",
    408: "nothing came in time",
    409: "it is there already",
    429: "too many requests of this address wait already",
    500: "this machine refused",
    502: "the other side is at fault",
    503: "the node is stopping, or too many requests wait already",
}
