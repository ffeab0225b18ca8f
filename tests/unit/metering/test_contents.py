"""Zero retention wins over everything, and only an owner lifts it."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from services.metering.domain.contents import Policy, changed
from shared.errors import Code, OmniError
from shared.messages.contents import SetContentPolicyV1
from shared.messages.custody import ActorV1

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ZERO = Policy(store=False, zero=True)


def change(role: str = "owner", **fields: Any) -> SetContentPolicyV1:
    return SetContentPolicyV1(workspace_id=1, actor=ActorV1(kind="token", id="t", role=role), **fields)


def refused(policy: Policy, wish: SetContentPolicyV1) -> Code:
    with pytest.raises(OmniError) as error:
        changed(policy, wish)
    return error.value.code


def test_nothing_is_stored_unless_somebody_says_so() -> None:
    assert Policy() == Policy(store=False, days=30, zero=False)
    assert changed(Policy(), change(content_days=7)) == Policy(store=False, days=7)
    assert changed(Policy(), change(store_content=True)) == Policy(store=True)
    assert changed(Policy(store=True, days=7), change(store_content=False)) == Policy(store=False, days=7)


def test_zero_retention_ends_storing_and_lifting_it_does_not_bring_it_back() -> None:
    zero = changed(Policy(store=True, days=7), change("admin", zero_retention=True))
    assert zero == Policy(store=False, days=7, zero=True)
    assert changed(zero, change(zero_retention=False)) == Policy(store=False, days=7)
    assert changed(zero, change(zero_retention=False, store_content=True)) == Policy(store=True, days=7)


def test_zero_retention_holds_against_everybody_but_an_owner() -> None:
    assert refused(Policy(), change(zero_retention=True, store_content=True)) is Code.INVALID_REQUEST
    for role in ("owner", "admin", "member", "viewer", "platform_admin"):
        assert refused(ZERO, change(role, store_content=True)) is Code.CONFLICT
        if role != "owner":
            assert refused(ZERO, change(role, zero_retention=False)) is Code.FORBIDDEN
            assert refused(ZERO, change(role, zero_retention=False, store_content=True)) is Code.FORBIDDEN


def test_never_both_whatever_is_asked() -> None:
    answers = (None, True, False)
    for store, zero, wish_store, wish_zero, role in product(
        (True, False), (True, False), answers, answers, ("owner", "admin")
    ):
        if store and zero:
            continue
        try:
            after = changed(Policy(store, 30, zero), change(role, store_content=wish_store, zero_retention=wish_zero))
        except OmniError:
            continue
        assert not (after.store and after.zero)
        if zero and not after.zero:
            assert (role, wish_zero) == ("owner", False)


def test_what_may_still_be_shown() -> None:
    assert Policy(days=7).oldest(NOW) == NOW - timedelta(days=7)
    assert ZERO.oldest(NOW) > NOW
