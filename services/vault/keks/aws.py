"""A KEK in AWS KMS: the key never leaves it, and every field of the DEK's place is its encryption context.

botocore finds the credentials (environment, IRSA, IMDS, profile); it is loaded only where such a KEK is configured.
"""

import asyncio
import re
from threading import Lock
from typing import Any

from services.vault.domain.envelope import KEY_BYTES, DekPlace
from shared.errors import unavailable
from shared.sealing import CannotOpen

ARN = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]{1,128}")
TIMEOUT_S = 2
_ATTEMPTS = 2
_CONNECTIONS = 16
_NOT_OURS = {"InvalidCiphertextException", "IncorrectKeyException"}


class AwsKek:
    """A symmetric KMS key named by its full ARN: an alias could be pointed at another key."""

    def __init__(self, arn: str, *, region: str | None = None, endpoint: str | None = None) -> None:
        """``region``: the ARN's unless given. Raises ValueError unless ``arn`` is a key's full ARN."""
        found = ARN.fullmatch(arn)
        if found is None:
            raise ValueError("it does not name a key by its full ARN (arn:aws:kms:<region>:<account>:key/<id>)")
        self._arn, self._region, self._endpoint = arn, region or found["region"], endpoint
        self._client: Any = None
        self._making = Lock()

    @property
    def id(self) -> str:
        """The ARN, by which KMS keeps the key for good."""
        return f"aws-kms:{self._arn}"

    async def wrap(self, dek: bytes, place: DekPlace) -> bytes:
        """Encrypt a DEK for ``place``. Raises OmniError ``unavailable``."""
        answer = await self._ask("encrypt", Plaintext=dek, EncryptionContext=_context(place))
        return bytes(answer["CiphertextBlob"])

    async def unwrap(self, wrapped: bytes, place: DekPlace) -> bytes:
        """The DEK. Raises CannotOpen, or OmniError ``unavailable``."""
        if not wrapped:
            raise CannotOpen
        answer = await self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=_context(place))
        dek = bytes(answer["Plaintext"])
        if len(dek) != KEY_BYTES:
            raise CannotOpen
        return dek

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()

    async def _ask(self, operation: str, **fields: object) -> dict[str, Any]:
        return await asyncio.to_thread(self._call, operation, fields)

    def _call(self, operation: str, fields: dict[str, object]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to load, seldom needed

        try:
            answer: dict[str, Any] = getattr(self._connected(), operation)(KeyId=self._arn, **fields)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_OURS:
                raise CannotOpen from None
            raise _away() from None
        except (BotoCoreError, OSError):
            raise _away() from None
        return answer

    def _connected(self) -> Any:  # noqa: ANN401 - botocore makes its clients' types at run time
        with self._making:
            if self._client is None:
                import botocore.session  # noqa: PLC0415
                from botocore.config import Config  # noqa: PLC0415

                config = Config(
                    connect_timeout=TIMEOUT_S,
                    read_timeout=TIMEOUT_S,
                    retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                    max_pool_connections=_CONNECTIONS,
                )
                session = botocore.session.get_session()
                self._client = session.create_client(
                    "kms", region_name=self._region, endpoint_url=self._endpoint, config=config
                )
            return self._client


def _context(place: DekPlace) -> dict[str, str]:
    return {
        "omnipost": "dek",
        "workspace_id": str(place.workspace_id),
        "dek_id": str(place.dek_id),
        "kek_id": place.kek_id,
    }


def _away() -> Exception:
    return unavailable("AWS KMS does not answer, or does not let the vault use the key; try again shortly.")
