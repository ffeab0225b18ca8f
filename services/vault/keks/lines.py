"""How a KEK is written down, in ``AI_ENCRYPTION_KEY`` or as a line of ``VAULT_KEKS_FILE``.

- a local key: base64 or hex of 32 random bytes (or, outside production, a passphrase of at least 16 characters)
- ``aws-kms:<key ARN> [endpoint=<url>] [region=<name>]``
- ``transit:<https url>/v1/<mount>/keys/<name> token_file=<path>`` or ``kubernetes_role=<role> jwt_file=<path>``,
  and ``[namespace=<name>]``
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from services.vault.domain.envelope import Kek
from services.vault.keks.aws import AwsKek
from services.vault.keks.local import LocalKek, Weak
from services.vault.keks.transit import Login, TransitKek
from shared.errors import invalid

AWS, TRANSIT = "aws-kms:", "transit:"
JWT_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_OPTIONS = {AWS: {"endpoint", "region"}, TRANSIT: {"token_file", "kubernetes_role", "jwt_file", "namespace"}}
_ADVICE = "Use base64 or hex of 32 random bytes (openssl rand -base64 32){or_passphrase}, or a key in a key service"


def parse(text: str, where: str, *, production: bool) -> Kek:
    """The KEK that ``text`` describes; ``where`` is what an error calls it.

    Raises OmniError ``invalid_request``, which never repeats ``text``, when it is weak or wrong.
    """
    text = text.strip()
    kind = next((kind for kind in _OPTIONS if text.startswith(kind)), None)
    try:
        if kind is None:
            return LocalKek.parse(text, passphrases=not production)
        address, *words = text.removeprefix(kind).split()
        options = _options(words, _OPTIONS[kind])
        return (_aws if kind == AWS else _transit)(address, options, production=production)
    except Weak as weak:
        passphrase = "" if production else ", or a passphrase of at least 16 characters"
        raise invalid(f"{where} is refused: {weak}. {_ADVICE.format(or_passphrase=passphrase)}.") from None
    except ValueError as error:
        # Only our own ValueErrors come here, and none of them repeats what it refuses.
        raise invalid(f"{where} is refused: {error}. `services/vault/keks/lines.py` has the forms.") from None


def parse_file(text: str, where: str) -> list[tuple[str, str]]:
    """The lines of ``VAULT_KEKS_FILE`` that describe a KEK, each with what an error calls it."""
    numbered = ((line.strip(), f"Line {number} of {where}") for number, line in enumerate(text.splitlines(), 1))
    return [(line, name) for line, name in numbered if line and not line.startswith("#")]


def _aws(arn: str, options: Mapping[str, str], *, production: bool) -> Kek:
    if "endpoint" in options:
        _check_url(options["endpoint"], production=production)
    return AwsKek(arn, region=options.get("region"), endpoint=options.get("endpoint"))


def _transit(url: str, options: Mapping[str, str], *, production: bool) -> Kek:
    _check_url(url, production=production)
    role, token = options.get("kubernetes_role"), options.get("token_file")
    if (role is None) == (token is None):
        raise ValueError("it needs either token_file=… or kubernetes_role=…")
    login = Login(
        token_file=Path(token) if token else None,
        kubernetes_role=role,
        jwt_file=Path(options["jwt_file"]) if "jwt_file" in options else JWT_FILE,
    )
    return TransitKek(url, login, namespace=options.get("namespace"))


def _options(words: Sequence[str], known: set[str]) -> dict[str, str]:
    options = dict(word.partition("=")[::2] for word in words)
    if not all(options.values()) or not known.issuperset(options) or len(options) < len(words):
        raise ValueError(f"behind the key's name come only {', '.join(sorted(known))}, each once, as name=value")
    return options


def _check_url(url: str, *, production: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"http", "https"}:
        raise ValueError("its address is not a URL")
    if production and parts.scheme != "https" and not _is_loopback(host):
        raise ValueError("its address is not https, which production requires")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
