"""A vault whose KEKs are lines of a file, and what is done to them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.vault.keks.local import LocalKek
from shared.errors import OmniError
from shared.messages.custody import ActorV1, GetKekRotationV1, KekRotationV1, RotateKekV1
from shared.messages.vault import KeyV1
from tests.integration.vault_world import World, vault_world

ACTOR = ActorV1(kind="operator", id="test", role="platform_admin")


def fresh() -> str:
    return secrets.token_hex(32)


def id_of(local_line: str) -> str:
    return LocalKek.parse(local_line).id


class KekFile:
    """``VAULT_KEKS_FILE``, replaced as a whole each time."""

    def __init__(self, path: Path, *lines: str) -> None:
        self.path = path
        self.write(*lines)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def write(self, *lines: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.path)

    def put_first(self, line: str) -> None:
        self.write(line, *self.lines)


@asynccontextmanager
async def custody_world(folder: Path, *lines: str, **environment: str) -> AsyncIterator[tuple[World, KekFile]]:
    """Everything up, the vault ready with the KEKs of these lines."""
    keks = KekFile(folder / "keks", *lines)
    async with vault_world(folder, "", VAULT_KEKS_FILE=str(keks.path), **environment) as world:
        yield world, keks


async def rotate(world: World) -> KekRotationV1:
    return await world.api.request(RotateKekV1(actor=ACTOR), KekRotationV1)


async def progress(world: World) -> KekRotationV1:
    return await world.api.request(GetKekRotationV1(), KekRotationV1, repeatable=True, timeout=20)


async def rotated(world: World, timeout_s: float = 30) -> KekRotationV1:
    """Rotate to the file's first KEK, and return once that is done."""
    await rotate(world)
    return await until(world, "done", timeout_s)


async def until(world: World, state: str, timeout_s: float = 30, *, trouble: bool = False) -> KekRotationV1:
    async with asyncio.timeout(timeout_s):
        while True:
            found = await progress(world)
            if found.state == state and (found.trouble is not None) == trouble:
                return found
            await asyncio.sleep(0.02)


async def refused(world: World, key: KeyV1) -> bool:
    """Whether a lease is refused because the key cannot be opened."""
    try:
        await world.lease(key)
    except OmniError as error:
        return "cannot be opened" in error.detail
    return False
