"""Requests with a canary at every place of every route where somebody could put one, by mistake or on purpose."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2

from tests.e2e.world import Caller, World, ok

NOBODY = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
JSON = {"content-type": "application/json"}
_TOO_LARGE = 4 * 1024 * 1024
Request = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """A route as the OpenAPI document has it: ``path`` with its placeholders, names of its query and body fields."""

    method: str
    path: str
    queries: tuple[str, ...]
    fields: tuple[str, ...]

    def at(self, value: str) -> str:
        """The path with ``value`` in place of every placeholder."""
        return "/".join(quote(value, safe="") if part.startswith("{") else part for part in self.path.split("/"))


async def routes(world: World) -> list[Route]:
    """Every route the edge says it has."""
    document = ok(await world.admin.get("/openapi.json"))
    schemas = document["components"]["schemas"]
    found = []
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            queries = tuple(item["name"] for item in said.get("parameters", ()) if item["in"] == "query")
            content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = content.get("schema", {})
            if "$ref" in schema:
                schema = schemas[schema["$ref"].rpartition("/")[2]]
            found.append(Route(method.upper(), path, queries, tuple(schema.get("properties", ()))))
    return found


def _in_every_field(route: Route, canary: str) -> Request:
    # The field nobody knows makes sure that nothing is stored which its owner may put anywhere, such as a label.
    return {"json": dict.fromkeys((*route.fields, "no_such_field"), canary)}


def _as_wrong_types(route: Route, canary: str) -> Request:
    wrong: tuple[object, ...] = ([canary], {canary: canary}, {"text": canary}, [[canary]])
    fields = {name: wrong[place % len(wrong)] for place, name in enumerate(route.fields)}
    return {"json": {**fields, "no_such_field": [canary]}}


def _as_a_name(route: Route, canary: str) -> Request:
    return {"json": {canary: canary, canary.lower(): 1}}


def _in_broken_json(route: Route, canary: str) -> Request:
    return {"content": f'{{"api_key": "{canary}", "{canary}'.encode(), "headers": JSON}


def _alone(route: Route, canary: str) -> Request:
    return {"content": json.dumps(canary).encode(), "headers": JSON}


def _as_a_form(route: Route, canary: str) -> Request:
    form = {"content-type": "application/x-www-form-urlencoded"}
    return {"content": f"api_key={quote(canary, safe='')}&x={canary}".encode(), "headers": form}


def _in_the_query(route: Route, canary: str) -> Request:
    return {"params": dict.fromkeys((*route.queries, "api_key", canary), canary)}


def _in_one_query_after_another(route: Route, canary: str) -> Request:
    # Only the last one, often a free text: the others must not hide it.
    return {"params": {"workspace_id": "1", **dict.fromkeys(route.queries[-1:], canary)}}


def _in_the_path(route: Route, canary: str) -> Request:
    return {"url": route.at(canary)}


def _behind_the_path(route: Route, canary: str) -> Request:
    return {"url": f"{route.at(NOBODY)}/{quote(canary, safe='')}"}


def _as_the_path(route: Route, canary: str) -> Request:
    return {"url": f"/{quote(canary, safe='')}{route.at(NOBODY)}"}


def _as_the_token(route: Route, canary: str) -> Request:
    return {"headers": {"authorization": f"Bearer {canary}"}}


def _in_headers(route: Route, canary: str) -> Request:
    names = ("x-request-id", "cookie", "user-agent", "x-api-key", "x-forwarded-for", "idempotency-key", "tracestate",
             "baggage", "referer", "origin", "accept", "if-none-match", canary)  # fmt: skip
    return {"headers": {name.replace("+", "-"): canary for name in names} | {"traceparent": f"00-{canary}-00"}}


def _as_the_content_type(route: Route, canary: str) -> Request:
    return {"content": canary.encode(), "headers": {"content-type": f"application/json; {canary}={canary}"}}


SHAPES: tuple[Callable[[Route, str], Request], ...] = (
    _in_every_field, _as_wrong_types, _as_a_name, _in_broken_json, _alone, _as_a_form, _in_the_query,
    _in_one_query_after_another, _in_the_path, _behind_the_path, _as_the_path, _as_the_token, _in_headers,
    _as_the_content_type,
)  # fmt: skip


async def spray(caller: Caller, where: list[Route], canary: str, shapes: list[list[int]]) -> list[bytes]:
    """Send ``canary`` to every route, in the ``shapes`` (indices) of its place in ``where``; the whole answers."""
    answers = []
    for place, route in enumerate(where):
        for shape in shapes[place]:
            request = {"url": route.at(NOBODY), **SHAPES[shape](route, canary)}
            answers.append(whole(await caller.send(route.method, request.pop("url"), **request)))
    return answers


async def spray_large(caller: Caller, where: list[Route], canary: str) -> list[bytes]:
    """Bodies beyond the limit, full of ``canary``."""
    content = (canary.encode() + b"\n") * (_TOO_LARGE // len(canary) + 1)
    taking = [route for route in where if route.fields]
    return [whole(await caller.send(route.method, route.at(NOBODY), content=content, headers=JSON)) for route in taking]


async def spray_malformed(port: int, canary: str) -> list[bytes]:
    """What is hardly HTTP; the bytes that come back until the connection ends."""
    raw = canary.encode()
    requests = (
        raw + b"\r\n\r\n",
        b"GET /" + raw + b" HTTP/9.9\r\n\r\n",
        raw + b" / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + raw + b"\r\n\r\n",
        b"POST /ai-keys HTTP/1.1\r\nhost: a\r\ncontent-length: " + raw + b"\r\n\r\n" + raw,
        b"POST /ai-keys HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + raw + b"\r\n",
        b"POST /ai-keys HTTP/1.1\r\nhost: " + raw + b"\r\nconnection: close\r\ncontent-length: 999\r\n\r\n" + raw,
    )
    answers = []
    for request in requests:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        writer.write_eof()
        answers.append(await asyncio.wait_for(reader.read(), 10))
        writer.close()
        await writer.wait_closed()
    return answers


def whole(response: httpx2.Response) -> bytes:
    """Status line, headers and body."""
    return f"{response.status_code} {response.reason_phrase} {response.headers!r}\n".encode() + response.content
