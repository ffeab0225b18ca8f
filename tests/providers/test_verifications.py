"""The free check of a key at every provider, over real sockets, in the wire forms of ``facts/providers.md``."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.router.client import ProviderClient
from services.router.providers import PROVIDERS, verification_of
from services.router.providers.base import Failure, HttpAnswer, Verdict
from services.router.sending import Limits
from shared.destinations import parse_base_url
from shared.messages.vocabulary import KeyStatus
from shared.testing.upstream import Answer, Upstream, json_answer

KEY = "key-canary-0123456789abcdef"
ACTIVE: Verdict = (KeyStatus.ACTIVE, None)
REFUSED: Verdict = (KeyStatus.INVALID, "refused_by_provider")
LIMITED: Verdict = (KeyStatus.UNVERIFIED, "rate_limited")
QUOTA: Verdict = (KeyStatus.UNVERIFIED, "quota_exhausted")
DOWN: Verdict = (KeyStatus.UNVERIFIED, "provider_error")
GARBAGE: Verdict = (KeyStatus.UNVERIFIED, "bad_response")
NO_SCOPE: Verdict = (KeyStatus.UNVERIFIED, "missing_scope")
OPEN: Verdict = (KeyStatus.UNVERIFIED, "not_verifiable")
LIMITS = Limits(connect_s=5, first_byte_s=5, total_s=5)
NOBODY = "00000000-0000-0000-0000-000000000000"
BEARER = {"authorization": f"Bearer {KEY}"}


def _openai(status: int, code: str) -> tuple[int, Any]:
    return status, {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": code}}


@dataclass(frozen=True)
class Wire:
    """How a provider is asked (below its own base URL), and what it answers: status and body."""

    path: str
    headers: Mapping[str, str]
    good: Any
    refused: tuple[int, Any]
    limited: tuple[int, Any] = (429, {"error": "slow down"})
    more: tuple[tuple[tuple[int, Any], Verdict], ...] = ()
    accepted: Verdict = ACTIVE
    forbidden: Verdict = REFUSED
    garbage: Verdict = GARBAGE


_MODELS = {"object": "list", "data": []}
_CODE = {"code": 1302, "message": "limit", "request_id": "r"}
WIRES = {
    "openai": Wire("/v1/models", BEARER, _MODELS, _openai(401, "invalid_api_key"), _openai(429, "rate_limit_exceeded"),
                   ((_openai(429, "insufficient_quota"), QUOTA), (_openai(403, "missing_scope"), NO_SCOPE))),
    "anthropic": Wire("/v1/models", {"x-api-key": KEY, "anthropic-version": "2023-06-01"}, {"data": []},
                      (401, {"type": "error", "error": {"type": "authentication_error", "message": "m"}}),
                      (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}),
                      (((529, {"type": "error", "error": {"type": "overloaded_error"}}), DOWN),)),
    "google": Wire("/v1beta/models?pageSize=1", {"x-goog-api-key": KEY}, {"models": [{"name": "m"}]},
                   (400, {"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}),
                   (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "48s"}]}})),
    "mistral": Wire("/v1/models", BEARER, _MODELS, (401, {"detail": "Invalid API Key"}),
                    (429, {"object": "error", "message": "m", "type": "rate_limited", "code": "1300"}),
                    (((402, {}), QUOTA),)),
    "groq": Wire("/openai/v1/models", BEARER, _MODELS, _openai(401, "invalid_api_key"),
                 _openai(429, "rate_limit_exceeded")),
    "zhipu": Wire(f"/api/paas/v4/async-result/{NOBODY}", BEARER, {"task_status": "FAIL"},
                  (401, {"error": {"code": "1001", "message": "m"}}),
                  (429, {"error": {"code": "1302", "message": "m"}}),
                  (((429, {"error": {"code": "1113", "message": "m"}}), QUOTA),
                   ((400, {"error": {"code": "1000", "message": "m"}}), REFUSED),
                   ((400, {"error": {"code": "1214", "message": "m"}}), OPEN), ((404, {}), OPEN)),
                  accepted=OPEN, garbage=OPEN),
    "openrouter": Wire("/api/v1/key", BEARER, {"data": {"label": "sk-or", "usage": 0}},
                       (401, {"error": {"message": "Missing Authentication header", "code": 401}}),
                       (429, {"error": {"code": 429, "message": "m", "metadata": {}}}),
                       (((402, {"error": {"code": 402, "message": "m"}}), QUOTA),)),
    "replicate": Wire("/v1/account", BEARER, {"type": "user", "username": "acme"},
                      (401, {"title": "Unauthenticated", "detail": "d", "status": 401}),
                      (429, {"detail": "throttled", "status": 429, "retry_after": 5})),
    "stability": Wire("/v1/user/balance", BEARER, {"credits": 0},
                      (401, {"id": "i", "name": "unauthorized", "message": "m"})),
    "deepgram": Wire("/v1/projects", {"authorization": f"Token {KEY}"}, {"projects": []},
                     (401, {"err_code": "INVALID_AUTH", "err_msg": "m", "request_id": "r"}),
                     more=(((402, {"err_code": "ASR_PAYMENT_REQUIRED"}), QUOTA),), forbidden=NO_SCOPE),
    "elevenlabs": Wire("/v1/user", {"xi-api-key": KEY}, {"user_id": "u", "subscription": {}},
                       (401, {"detail": {"status": "invalid_api_key", "message": "m"}}),
                       (429, {"detail": {"status": "rate_limit_exceeded", "message": "m"}}),
                       (((401, {"detail": {"status": "quota_exceeded", "message": "m"}}), QUOTA),
                        ((401, {"detail": {"status": "missing_permissions", "message": "m"}}), NO_SCOPE)),
                       forbidden=NO_SCOPE),
    "kling": Wire("/v1/videos/text2video?pageNum=1&pageSize=1", BEARER, {"code": 0, "message": "ok", "data": []},
                  (401, {"code": 1002, "message": "m", "request_id": "r"}), (429, _CODE),
                  (((429, _CODE | {"code": 1303}), LIMITED), ((429, _CODE | {"code": 1102}), QUOTA),
                   ((200, _CODE | {"code": 1004}), REFUSED), ((200, _CODE | {"code": 7, "data": None}), GARBAGE))),
    "runway": Wire("/v1/organization", BEARER | {"x-runway-version": "2024-11-06"}, {"creditBalance": 0, "tier": {}},
                   (401, {"error": "m"}), (429, {"error": "m"})),
    "pika": Wire(f"/fal-ai/pika/requests/{NOBODY}/status", {"authorization": f"Key {KEY}"}, {"status": "COMPLETED"},
                 (401, {"detail": "m"}), (429, {"detail": "m"}),
                 (((404, {"detail": "m"}), OPEN), ((422, {"detail": [{"loc": [], "msg": "m", "type": "t"}]}), OPEN)),
                 accepted=OPEN, forbidden=OPEN, garbage=OPEN),
}  # fmt: skip


@pytest.fixture
async def client() -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as opened:
        yield opened


async def _ask(client: ProviderClient, provider: str, upstream: Upstream, limits: Limits = LIMITS) -> Verdict | Failure:
    verification = verification_of(provider)
    base = upstream.base_url + parse_base_url(PROVIDERS[provider].base_url).path
    delivery = await client.send(base, verification.request, verification.auth(KEY), limits)
    assert KEY not in repr(delivery)
    return verification.judge(delivery.result) if isinstance(delivery.result, HttpAnswer) else delivery.result


def _cases(wire: Wire) -> list[tuple[Answer, Verdict]]:
    given: list[tuple[tuple[int, Any], Verdict]] = [
        ((200, wire.good), wire.accepted),
        (wire.refused, REFUSED),
        ((403, {"message": f"forbidden for {KEY}"}), wire.forbidden),
        (wire.limited, LIMITED),
        ((500, {}), DOWN),
        ((503, {}), DOWN),
        ((504, {}), (KeyStatus.UNVERIFIED, "timeout")),
        ((200, []), wire.garbage),
        ((200, {"message": "welcome"}), wire.garbage),
        *wire.more,
    ]
    bodies = [(json_answer(body, status), verdict) for (status, body), verdict in given]
    return [*bodies, (Answer(body=b"<html>Sign in</html>"), wire.garbage), (Answer(status=302), wire.garbage)]


async def test_every_provider_is_asked_for_nothing_and_judged_by_its_own_words(client: ProviderClient) -> None:
    assert set(WIRES) == set(PROVIDERS)
    count = 0
    for provider, wire in WIRES.items():
        async with Upstream() as upstream:
            path = urlsplit(wire.path).path
            for answer, verdict in _cases(wire):
                upstream.script("GET", path, answer)
                assert await _ask(client, provider, upstream) == verdict, (provider, answer)
                received = upstream.requests[-1]
                assert (received.method, received.path, received.body) == ("GET", wire.path, b"")
                assert wire.headers.items() <= received.headers.items()
                count += 1
            assert len(upstream.requests) == len(_cases(wire))
    print(f"\nverification: providers={len(WIRES)} cases={count} methods=GET")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_that_does_not_answer_leaves_it_open(client: ProviderClient, provider: str) -> None:
    async with Upstream() as upstream:
        upstream.always("GET", "*", Answer(hang=True))
        silent = await _ask(client, provider, upstream, Limits(connect_s=1, first_byte_s=0.1, total_s=1))
        upstream.always("GET", "*", Answer(raw=b"SSH-2.0-x\r\n\r\n"))
        other = await _ask(client, provider, upstream)
    gone = await _ask(client, provider, upstream)
    assert [item.detail for item in (silent, other, gone) if isinstance(item, Failure)] == [
        "first_byte_timeout", "not_http", "connect_failed",
    ]  # fmt: skip


def test_no_check_can_cost_money_or_carry_the_key_in_its_path() -> None:
    for provider in PROVIDERS.values():
        verification = provider.verification
        assert (verification.request.method, verification.request.body) == ("GET", b"")
        assert KEY not in verification.path
        assert [value for value in verification.auth(KEY).values() if KEY in value]
        assert KEY not in json.dumps(dict(verification.request.headers))
