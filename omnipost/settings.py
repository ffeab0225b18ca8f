"""Where OmniPost is, and as whom to ask it. Nothing else in this package looks at the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from omnipost.errors import NotConfiguredError

LOCAL_WORKSPACE = 1
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN = re.compile(r"[!-~]{8,512}")


@dataclass(frozen=True, slots=True)
class Settings:
    """``workspace_id`` None: the token's own; a platform admin's token has none, and must say which it means."""

    url: str
    token: str = field(repr=False)
    workspace_id: int | None = None


def read(
    url: str | None = None,
    token: str | None = None,
    *,
    workspace_id: int | None = None,
    allow_http: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """What is given, else ``OMNIPOST_URL``, ``OMNIPOST_TOKEN`` and ``OMNIPOST_WORKSPACE``, else the local stack's.

    The local stack is that of ``OMNIPOST_HOME`` (./.omnipost); its admin token is read for its own address only.
    Raises NotConfiguredError.
    """
    given = {name: value for name, value in (environment or os.environ).items() if value}  # noqa: TID251 - settings
    home = Path(given.get("OMNIPOST_HOME", ".omnipost")).expanduser()
    local_url = _own_address(home / "run" / "url")
    url = (url or given.get("OMNIPOST_URL") or local_url or "").rstrip("/")
    if not url:
        raise NotConfiguredError(
            f"No address: set OMNIPOST_URL or give --url, or start a local stack with make run (none runs in {home})."
        )
    checked(url, allow_http=allow_http)
    token = token or given.get("OMNIPOST_TOKEN")
    workspace_id = workspace_id or _workspace(given.get("OMNIPOST_WORKSPACE"))
    if not token and url == local_url:
        token = _text(home / "admin-token")
        workspace_id = workspace_id or LOCAL_WORKSPACE
    if not token:
        raise NotConfiguredError(f"No token for {url}: set OMNIPOST_TOKEN, or give --token-file.")
    return Settings(url, usable(token), workspace_id)


def _own_address(file: Path) -> str | None:
    """The local stack's address, if it is one of this machine: a folder from elsewhere may hold a file like it."""
    url = _text(file)
    return url if url and is_loopback(url) and file.stat().st_uid == os.getuid() else None


def checked(url: str, *, allow_http: bool) -> None:
    """Raises NotConfiguredError for an address that cannot be used, or would show the token to the network."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    except ValueError:
        valid = False
    if not valid:
        raise NotConfiguredError("The address must be http(s)://host[:port], without a user.")
    if parts.scheme == "http" and not allow_http and not is_loopback(url):
        raise NotConfiguredError(
            "Over http the token travels in clear: use https, or say allow_http (--allow-http) in a network you trust."
        )


def is_loopback(url: str) -> bool:
    """Whether ``url`` is this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def usable(token: str) -> str:
    """``token`` without white space around it. Raises NotConfiguredError for what cannot be one, without showing it."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise NotConfiguredError("This is no access token: it is one line of printable ASCII without spaces.")
    return token


def _workspace(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not int(text):
        raise NotConfiguredError("OMNIPOST_WORKSPACE must be a workspace's number.")
    return int(text)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
