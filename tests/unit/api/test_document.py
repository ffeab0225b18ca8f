import asyncio
import json
import re
from typing import Any, cast

import pytest

from services.api.app import http_app
from services.api.http.failures import OPEN
from services.api.http.middleware import _route


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    nobody = cast("Any", None)
    return http_app(nobody, nobody, nobody, asyncio.Event(), nobody).openapi()


def test_every_route_says_who_may_ask_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            failing = [answer for status, answer in operation["responses"].items() if status >= "400"]
            shape = "application/json" if path.startswith("/v1/") else "application/problem+json"
            if path not in OPEN:
                assert failing
                assert all(shape in answer["content"] for answer in failing), (path, failing)
            assert ("security" in operation) == (path not in OPEN)


def test_a_call_may_be_streamed(document: dict[str, Any]) -> None:
    call = document["paths"]["/ai-invoke"]["post"]
    assert set(call["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"stream", "input", "messages"} <= set(document["components"]["schemas"]["InvokeIn"]["properties"])


def test_every_schema_it_refers_to_is_there(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/([^\"]+)", json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_spans_of_every_route_have_its_name(document: dict[str, Any]) -> None:
    for path in document["paths"]:
        assert _route(path) == "/" + path.split("/")[1]
    assert _route("/ai-sk-proj-abc") == "unknown"
