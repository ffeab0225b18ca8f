"""Where a client asks and as whom; the local stack's admin token is for the local stack only."""

from pathlib import Path

import pytest

from omnipost.errors import NotConfiguredError
from omnipost.settings import read

TOKEN, ADMIN = "omni_token_of_somebody", "omni_token_of_the_admin"
LOCAL = "http://127.0.0.1:8123"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A running local stack's folder."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "url").write_text(f"{LOCAL}\n")
    (tmp_path / "admin-token").write_text(f"{ADMIN}\n")
    return tmp_path


def test_the_local_stack_is_found(home: Path) -> None:
    found = read(environment={"OMNIPOST_HOME": str(home)})
    assert (found.url, found.token, found.workspace_id) == (LOCAL, ADMIN, 1)
    named = read(LOCAL + "/", workspace_id=7, environment={"OMNIPOST_HOME": str(home)})
    assert (named.token, named.workspace_id) == (ADMIN, 7)


def test_its_admin_token_goes_nowhere_else(home: Path) -> None:
    for url in ("https://omnipost.example", "http://127.0.0.1:8124", "http://localhost:8123"):
        with pytest.raises(NotConfiguredError, match="No token"):
            read(url, environment={"OMNIPOST_HOME": str(home)})


def test_what_is_given_comes_first(home: Path) -> None:
    environment = {"OMNIPOST_HOME": str(home), "OMNIPOST_URL": "https://a.example", "OMNIPOST_TOKEN": TOKEN}
    found = read(environment=environment)
    assert (found.url, found.token, found.workspace_id) == ("https://a.example", TOKEN, None)
    given = read("https://b.example", ADMIN, environment={**environment, "OMNIPOST_WORKSPACE": "5"})
    assert (given.url, given.token, given.workspace_id) == ("https://b.example", ADMIN, 5)


def test_nothing_is_guessed(tmp_path: Path) -> None:
    environment = {"OMNIPOST_HOME": str(tmp_path)}
    with pytest.raises(NotConfiguredError, match="No address"):
        read(environment=environment)
    with pytest.raises(NotConfiguredError, match="OMNIPOST_WORKSPACE"):
        read("https://a.example", TOKEN, environment={**environment, "OMNIPOST_WORKSPACE": "first"})


@pytest.mark.parametrize("url", ["ftp://a.example", "a.example", "https://user:pw@a.example", "https://", "http://[x"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(NotConfiguredError, match="must be http"):
        read(url, TOKEN, environment={"OMNIPOST_HOME": "/nowhere"})


def test_in_clear_only_on_request() -> None:
    nowhere = {"OMNIPOST_HOME": "/nowhere"}
    with pytest.raises(NotConfiguredError, match="in clear"):
        read("http://omnipost.internal:8080", TOKEN, environment=nowhere)
    assert read("http://omnipost.internal:8080", TOKEN, allow_http=True, environment=nowhere).token == TOKEN
    assert read("http://[::1]:8080", TOKEN, environment=nowhere).url == "http://[::1]:8080"


def test_a_token_is_never_shown() -> None:
    nowhere = {"OMNIPOST_HOME": "/nowhere"}
    with pytest.raises(NotConfiguredError) as refused:
        read("https://a.example", "two words", environment=nowhere)
    assert "two words" not in str(refused.value)
    assert TOKEN not in repr(read("https://a.example", TOKEN, environment=nowhere))
