"""The OpenAPI document: written from the same types that check the bodies."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec

from syncrec.serving.http.gate import Handler
from syncrec.serving.messages import Problem

__all__ = ["RouteEntry", "openapi_document"]

_FAULTS = ("400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "500", "503", "507")


@dataclass(frozen=True)
class RouteEntry:
    """A route: who may use it (`role`; None: everybody), what it takes and gives, and an example of what it takes."""

    method: str
    path: str
    role: str | None
    handler: Handler
    summary: str
    body: Any = None
    answer: Any = None
    example: Any = None
    parameters: tuple[dict[str, Any], ...] = ()
    media_type: str = "application/json"

    @property
    def public_path(self) -> str:
        """The path without the marks of the router."""
        return self.path.replace(":path}", "}")


def openapi_document(routes: Sequence[RouteEntry], *, has_keys: bool) -> dict[str, Any]:
    """The document of `routes`; with keys it says how to send one."""
    types = list(dict.fromkeys(t for route in routes for t in (route.body, route.answer) if t is not None))
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template="#/components/schemas/{name}")
    schema_of = dict(zip([*types, Problem], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.public_path, {})[route.method.lower()] = _operation(route, schema_of, has_keys)
    schemes = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if has_keys else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "syncrec", "version": version("syncrec"), "description": "Recommendations in every domain."},
        "paths": paths,
        "components": {"schemas": components, **schemes},
    }


def _operation(route: RouteEntry, schema_of: dict[Any, Any], has_keys: bool) -> dict[str, Any]:
    problem = {"content": {"application/problem+json": {"schema": schema_of[Problem]}}}
    schema = {"schema": schema_of[route.answer]} if route.answer is not None else {}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "200": {"description": "done", "content": {route.media_type: schema}},
            **{status: {"description": "see detail", **problem} for status in _FAULTS},
        },
    }
    if route.parameters:
        operation["parameters"] = list(route.parameters)
    if route.body is not None:
        content = {"schema": schema_of[route.body], "example": route.example}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    if has_keys and route.role:
        operation["security"] = [{"key": []}]
        operation["description"] = f"Needs a key with the role {route.role}."
    return operation
