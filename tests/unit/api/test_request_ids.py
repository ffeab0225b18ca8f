"""A request's own name is echoed, a key that was put there by mistake is not."""

import pytest

from services.api.domain.request_ids import taken


@pytest.mark.parametrize(
    "name",
    [
        "1", "order-4711", "a.b_c-D", "x" * 128, "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736",
        "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "req_2026-11-23.17", "task-sketch-12",
        "Web-Frontend-Request-12345678901234567890",
    ],
)  # fmt: skip
def test_safe_tokens_are_taken(name: str) -> None:
    assert taken(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "x" * 129, "a b", "é", "a\r\nb", "a/b", "sk-proj-abc123", "sk-ant-api03-x", "gsk_abc", "AIzaSyA-x",
        "omni_abc", "prefix-sk-abc", "r8_abc", "whsec_abc", "xai-abc", "hf_abc", "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOi.eyJzdWIi.x",
        "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF", "0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp", "Bearer.x",
        "trace-aB3dE6gH9jK2mN5pQ8sT1vW4",
    ],
)  # fmt: skip
def test_what_could_be_a_key_is_not(name: str) -> None:
    assert not taken(name)
