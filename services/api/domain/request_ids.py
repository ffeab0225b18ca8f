"""Which names of requests are taken from callers: they are echoed and logged, so none that could be a key. Pure."""

import re

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,128}")
# How keys and tokens begin: of providers, of OmniPost, of clouds and code hosts; and a JWT.
_BEGINNING = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:(?:sk|pk|rk|ak|omni|whsec|gsk|xai|r8|hf|nvapi|pplx|csk|fw|tgp|gh[a-z]|github_pat|glpat|xox[a-z]"
    r"|bearer|token|secret|api[_-]?key)[._-]|AIza|AKIA|ASIA|ya29|eyJ)",
    re.IGNORECASE,
)
# What has no telling beginning: Zhipu's form, and long runs of letters of both cases with digits among them.
_ZHIPU = re.compile(r"[0-9a-f]{32}\.[A-Za-z0-9]{16}")
_RUN = re.compile(r"[A-Za-z0-9]{20,}")


def taken(name: str) -> bool:
    """Whether ``name`` is a safe token that does not look like a key."""
    if not _SAFE.fullmatch(name) or _BEGINNING.search(name) or _ZHIPU.search(name):
        return False
    return not any(map(_is_random, _RUN.findall(name)))


def _is_random(run: str) -> bool:
    return run != run.lower() and run != run.upper() and any(map(str.isdigit, run))
