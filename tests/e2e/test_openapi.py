"""The OpenAPI document tells the truth: schemathesis sends what it says, as everybody, and finds every answer in it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, connected, ok

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
)  # fmt: skip
# Seconds for everybody at once; a seed makes a run repeatable. Good and bad input is derived from the document.
SECONDS, SEED = "35", "20261123"
ROLES = ("owner", "admin", "member", "viewer")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: what is sent to it may delete everything."""
    home = tmp_path_factory.mktemp("openapi") / "home"
    running = Stack.start(home, environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
    yield running
    running.stop()


@pytest.fixture(scope="module")
async def there(own: Stack) -> AsyncIterator[World]:
    async with connected(own) as made:
        yield made


@dataclass(frozen=True)
class Run:
    """What a run of schemathesis has found: failures, each as its check (or kind of error) and what it was about."""

    cases: int
    failures: list[str]

    def failed(self, what: str) -> list[str]:
        """``server_errors``, or ``undocumented``: everything else that the document does not say."""
        crashes = [failure for failure in self.failures if "server" in failure.lower()]
        return crashes if what == "server_errors" else [one for one in self.failures if one not in crashes]


@pytest.mark.timeout(400)  # of other work on the machine; its own time is bounded below
async def test_every_answer_is_in_the_document(there: World, own: Stack, tmp_path: Path) -> None:
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        # Nothing that is generated reaches a real provider.
        for provider in ok(await there.admin.get("/ai-providers"))["items"]:
            await there.admin.put(f"/ai-providers/{provider['id']}", base_url=f"{upstream.base_url}/v1")
        known = await _something_to_find(there)
        tokens = {"platform_admin": own.admin_token, "nobody": "omni_nobodys-token-0123456789"}
        for role in ROLES:
            made = await there.admin.post("/ai-tokens", workspace_id=1, role=role, name=role)
            tokens[role] = ok(made, 201)["token"]

        async def run(role: str) -> tuple[str, Run]:
            return role, await _run(own, tokens[role], tmp_path / role, known)

        runs = dict(await asyncio.gather(*map(run, tokens)))
    for role, told in runs.items():
        found = [f"{name}={len(told.failed(name))}" for name in ("undocumented", "server_errors")]
        print(f"schemathesis as {role}: cases={told.cases} {' '.join(found)}")
    assert not {role: told.failures for role, told in runs.items() if told.failures}
    assert all(told.cases > 10 for told in runs.values()), "they were really sent"


async def test_every_route_has_its_examples(there: World) -> None:
    document = ok(await there.caller(None).get("/openapi.json"))
    assert document["openapi"].startswith("3.1")
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items() for method, operation in methods.items()
    ]  # fmt: skip
    for name, operation in operations:
        assert "default" not in operation["responses"], name
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [about for status, about in operation["responses"].items() if status != "204"]
        for about in bodies:
            assert any("example" in media or "examples" in media for media in about["content"].values()), name
    print(f"openapi: {len(operations)} operations, every one with examples of what is asked and of every answer")


async def test_the_page_loads_nothing_from_elsewhere_and_keeps_nothing(there: World) -> None:
    page = await there.caller(None).get("/docs")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "localStorage" not in page.text
    assert "sessionStorage" not in page.text
    assert "cookie" not in page.text


async def test_a_method_that_is_not_there_is_told_what_is(there: World) -> None:
    response = await there.admin.send("PATCH", "/ai-keys")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


async def _something_to_find(there: World) -> dict[str, str]:
    key = await there.key(1, "openai")
    alias = ok(await there.admin.get("/ai-aliases", workspace_id=1))["items"][0]
    hook = await there.admin.post("/ai-webhooks", workspace_id=1, url="https://hooks.example.com/x")
    token = ok(await there.admin.post("/ai-tokens", workspace_id=1, role="viewer", name="found"), 201)
    await there.invoke(1, "default-writer")
    [call, *_] = await there.calls(1, 1)
    return {
        "key_id": key["id"], "alias_id": alias["id"], "webhook_id": ok(hook, 201)["id"], "token_id": token["id"],
        "attempt_id": call["attempt_id"], "provider_id": "openai", "model_id": "default-writer",
        # Not the one the others are in: a platform admin deletes it.
        "workspace_id": str(await there.workspace()),
    }  # fmt: skip


async def _run(own: Stack, token: str, folder: Path, known: dict[str, str]) -> Run:
    lines = [f'"path.{name}" = "{value}"' for name, value in known.items()]
    await asyncio.to_thread(_write, folder / "schemathesis.toml", "\n".join(["[parameters]", *lines, ""]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", "schemathesis.toml", "run", f"{own.base_url}/openapi.json"),
        *("-H", f"Authorization: Bearer {token}", "-c", ",".join(CHECKS)),
        *("--phases", "coverage,fuzzing", "--max-time", SECONDS, "--seed", SEED),
        *(
            "--continue-on-failure",
            "--no-shrink",
            "--request-timeout",
            "20",
            "--warnings",
            "off",
            "--report-json-path",
            "report.json",
        ),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    report = folder / "report.json"
    assert report.exists(), printed.decode()[-3000:]
    told = json.loads(report.read_text())
    assert told["test_cases"]["generated"], printed.decode()[-3000:]
    failures = [json.dumps(found)[:1500] for found in told["failures"] + told["errors"]]
    return Run(told["test_cases"]["generated"], failures)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
