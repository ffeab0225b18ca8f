from itertools import pairwise

import pytest

from services.api.domain.access import ALLOWED, Action, Principal, Role, masked_token, token_hash
from shared.errors import Code, OmniError


def test_the_table_names_every_action_and_the_platform_admin_may_do_all() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(Role.PLATFORM_ADMIN in roles for roles in ALLOWED.values())


def test_more_powerful_roles_may_do_whatever_weaker_ones_may() -> None:
    ladder = [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER, Role.PLATFORM_ADMIN]
    for weaker, stronger in pairwise(ladder):
        assert not [action for action in Action if weaker in ALLOWED[action] and stronger not in ALLOWED[action]]


def test_a_viewer_changes_nothing_and_only_the_platform_changes_the_catalogue() -> None:
    viewer = {action for action in Action if Role.VIEWER in ALLOWED[action]}
    assert viewer == {Action.READ_KEYS, Action.READ_ALIASES, Action.READ_USAGE, Action.READ_CATALOGUE}
    assert ALLOWED[Action.WRITE_CATALOGUE] == {Role.PLATFORM_ADMIN}
    assert ALLOWED[Action.WRITE_WORKSPACES] == {Role.PLATFORM_ADMIN}


def test_a_token_reaches_its_own_workspace_only() -> None:
    member = Principal(Role.MEMBER, 7)
    assert (member.reach(None), member.reach(7)) == (7, 7)
    with pytest.raises(OmniError) as other:
        member.reach(8)
    assert other.value.code is Code.FORBIDDEN
    assert Principal(Role.PLATFORM_ADMIN, None).reach(8) == 8
    with pytest.raises(OmniError) as unnamed:
        Principal(Role.PLATFORM_ADMIN, None).reach(None)
    assert unnamed.value.code is Code.INVALID_REQUEST


def test_tokens_are_hashed_under_the_pepper_and_masked() -> None:
    assert token_hash(b"a", "token") != token_hash(b"b", "token")
    assert len(token_hash(b"a", "token\ud800")) == 32
    assert masked_token("omni_0123456789abcdef") == "omni_…cdef"
