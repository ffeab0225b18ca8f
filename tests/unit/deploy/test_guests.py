"""Credentials of OmniPost's other services."""

import stat
from pathlib import Path

import pytest

from deploy.local import guests
from deploy.local.home import Home
from deploy.local.secret_files import ensure, nkey, seed_file
from deploy.local.settings import CannotStart
from shared.permissions import guest_user, permissions_of_guest


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path)
    found.secrets.mkdir()
    ensure(found, ("api", "router", "vault", "metering"))
    return found


def test_a_guest_is_given_workspaces_and_loses_them(home: Home) -> None:
    guests.give(home, "composer", [7, 1, 7])
    guests.give(home, "planner", [2])
    seed = seed_file(home, "guest.composer")
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    assert guests.known(home) == {"composer": [1, 7], "planner": [2]}
    before = nkey(home, "guest.composer")
    guests.give(home, "composer", [3])
    assert guests.users(home)[before] == permissions_of_guest("composer", [3])
    guests.give(home, "composer", [])
    assert guests.known(home) == {"planner": [2]}
    assert not seed.exists()


@pytest.mark.parametrize("name", ["", "Composer", "1st", "a.b", "a>", "*", "a b", "x" * 33, "ä"])
def test_a_name_that_could_be_more_than_a_name_is_refused(home: Home, name: str) -> None:
    with pytest.raises(CannotStart):
        guests.give(home, name, [1])
    with pytest.raises(ValueError, match="name"):
        guest_user(name)


def test_what_makes_no_sense_is_said(home: Home, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no service 'nobody'"):
        guests.give(home, "nobody", [])
    with pytest.raises(CannotStart, match="make run"):
        guests.give(Home(tmp_path / "elsewhere"), "composer", [1])
    (home.secrets / guests.GUESTS).write_text('{"composer": ["*"]}')
    with pytest.raises(CannotStart, match="positive numbers"):
        guests.known(home)
    for damaged in ("", '{"composer": [1', "[]"):
        (home.secrets / guests.GUESTS).write_text(damaged)
        with pytest.raises(CannotStart, match="damaged"):
            guests.give(home, "planner", [1])
        assert (home.secrets / guests.GUESTS).read_text() == damaged, "nobody's credentials are lost over it"


def test_a_guest_may_call_and_hear_in_its_workspaces_only() -> None:
    row = permissions_of_guest("composer", [7, 1])
    assert row.publish == ("ai.invoke.1", "ai.invoke.7", "ai.router.streams.*.v1")
    assert row.replies == 0
    assert all(
        subject.startswith(("ai.events.1.", "ai.events.7.", "_INBOX_guest.composer.")) for subject in row.subscribe
    )
    assert len(row.subscribe) == 2 * 4 + 1


def test_without_a_running_server_nothing_is_told(home: Home) -> None:
    assert not guests.tell_nats(home)
