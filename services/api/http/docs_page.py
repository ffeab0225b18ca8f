"""``/docs``: the document to try out, in one page of our own. It loads nothing from elsewhere and stores nothing."""

import base64
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_PAGE = Path(__file__).with_name("docs_page.html").read_text(encoding="utf-8")


def policy(page: str) -> str:
    """The Content-Security-Policy that lets the scripts and styles of ``page`` run, no others, and ask us only."""
    scripts, styles = (" ".join(map(_hash, re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))) for tag in _INLINE)
    closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
    return f"{closed}; script-src {scripts}; style-src {styles}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_INLINE = ("script", "style")
_HEADERS = {"content-security-policy": policy(_PAGE), "referrer-policy": "no-referrer"}


async def docs(_: Request) -> Response:
    """The page."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


routes = [Route("/docs", docs)]
