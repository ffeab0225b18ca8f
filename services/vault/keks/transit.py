"""A KEK in the transit engine of HashiCorp Vault or OpenBao (type aes256-gcm96); the place is its associated data."""

import base64
import binascii
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from services.vault.domain.envelope import KEY_BYTES, DekPlace
from shared.errors import OmniError, unavailable
from shared.sealing import CannotOpen
from shared.settings import read_secret

TIMEOUT_S = 2.0
_BAD_REQUEST, _FORBIDDEN = 400, 403


@dataclass(frozen=True)
class Login:
    """How the vault proves itself: a token in a file, or its Kubernetes service account.

    ``token_file``: read again when the token is refused, so that an agent may renew it.
    """

    token_file: Path | None = None
    kubernetes_role: str | None = None
    jwt_file: Path | None = None


class TransitKek:
    """``https://host/v1/<mount>/keys/<name>``, in ``namespace`` where the server has them."""

    def __init__(self, url: str, login: Login, *, namespace: str | None = None) -> None:
        """Raises ValueError unless ``url`` names a transit key."""
        parts = urlsplit(url)
        path = parts.path.strip("/").split("/")
        if parts.username or parts.query or len(path) < 4 or path[0] != "v1" or path[-2] != "keys" or not all(path):
            raise ValueError("it is not of the form https://<host>/v1/<mount>/keys/<name>")
        self._server = f"{parts.scheme}://{parts.netloc}/v1"
        self._mount, self._name = "/".join(path[1:-2]), path[-1]
        self._login, self._namespace = login, namespace
        self._id = f"transit:{parts.netloc}/{self._mount}/{self._name}" + (f"#{namespace}" if namespace else "")
        self._token: str | None = None
        self._client: httpx2.AsyncClient | None = None

    @property
    def id(self) -> str:
        """Server, mount and name: a server that moves must keep its name."""
        return self._id

    async def wrap(self, dek: bytes, place: DekPlace) -> bytes:
        """Encrypt a DEK for ``place``. Raises OmniError ``unavailable``."""
        try:
            answer = await self._transit("encrypt", plaintext=_encode(dek), associated_data=_bound_to(place))
        except CannotOpen:
            raise _away() from None
        ciphertext = str(answer.get("ciphertext", ""))
        if not ciphertext.startswith("vault:"):
            raise _away()
        return ciphertext.encode()

    async def unwrap(self, wrapped: bytes, place: DekPlace) -> bytes:
        """The DEK. Raises CannotOpen, or OmniError ``unavailable``."""
        try:
            ciphertext = wrapped.decode("ascii")
            answer = await self._transit("decrypt", ciphertext=ciphertext, associated_data=_bound_to(place))
            dek = base64.b64decode(str(answer.get("plaintext", "")), validate=True)
        except (UnicodeDecodeError, binascii.Error):
            raise CannotOpen from None
        if len(dek) != KEY_BYTES:
            raise CannotOpen
        return dek

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _transit(self, verb: str, **fields: str) -> dict[str, Any]:
        path = f"{self._mount}/{verb}/{self._name}"
        fresh = self._token is None
        answer = await self._post(path, fields, await self._logged_in(again=False))
        if answer.status_code == _FORBIDDEN and not fresh:
            answer = await self._post(path, fields, await self._logged_in(again=True))
        if answer.status_code == _BAD_REQUEST:
            raise CannotOpen
        return _part(answer, "data")

    async def _logged_in(self, *, again: bool) -> str:
        if self._token is None or again:
            self._token = None
            self._token = await self._log_in()
        return self._token

    async def _log_in(self) -> str:
        try:
            if self._login.kubernetes_role is None:
                return read_secret(self._login.token_file or Path())
            jwt = read_secret(self._login.jwt_file or Path())
        except (OSError, ValueError):
            raise unavailable("The file with the vault's token for the key service cannot be read.") from None
        body = {"role": self._login.kubernetes_role, "jwt": jwt}
        granted = _part(await self._post("auth/kubernetes/login", body, None), "auth")
        return str(granted.get("client_token", ""))

    async def _post(self, path: str, body: dict[str, str], token: str | None) -> httpx2.Response:
        headers = {} if token is None else {"X-Vault-Token": token}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        if self._client is None:
            # The environment may name a proxy or a netrc; neither may see a data key.
            context = ssl.create_default_context()
            self._client = httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=context)
        try:
            return await self._client.post(f"{self._server}/{path}", json=body, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            raise _away() from None


def _part(answer: httpx2.Response, name: str) -> dict[str, Any]:
    try:
        part = answer.json().get(name) if answer.is_success else None
    except (ValueError, AttributeError):
        part = None
    if not isinstance(part, dict):
        raise _away()
    return part


def _bound_to(place: DekPlace) -> str:
    return _encode(place.associated_data())


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _away() -> OmniError:
    return unavailable("The transit key service does not answer, or does not let the vault use the key; try again.")
