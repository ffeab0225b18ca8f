"""Bodies with too many values are told from large ones without reading them."""

import json

import pytest

from services.api.domain.json_bounds import VALUES, has_too_many_values


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * VALUES + b"0,0]",
        b"[" + b'"",' * VALUES + b'"",""]',
        b"{" + b'"":0,' * VALUES + b'"":0,"":1}',
        b"[" + b"{}," * VALUES + b"[],[]]",
        b'["\\\\",' + b"0," * VALUES + b"0]",
        b'"' + b'","' * 4 * VALUES + b'"',
    ],
)
def test_many_values_are_too_many(body: bytes) -> None:
    assert has_too_many_values(body)


@pytest.mark.parametrize(
    "value",
    [
        "a," * 2_000_000,
        'a "quoted", text\\,\\"' * 100_000,
        ["a,b" * 1000] * 2048,
        [{"role": "user", "content": "a, b, c\n" * 100}] * 2048,
        [0] * VALUES,
        [],
    ],
)
def test_long_texts_are_not(value: object) -> None:
    assert not has_too_many_values(json.dumps(value).encode())
