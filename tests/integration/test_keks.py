"""Every KEK provider against a real server: what it wraps opens in its place only, and it may go away and come back.

OpenBao is the real server. AWS KMS is moto's, over HTTP: it checks encryption contexts as KMS does, but neither
signatures nor permissions, and it answers some wrong ciphertexts with another error than KMS.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import certifi
import pytest

from services.vault.domain.envelope import DekPlace, Kek
from services.vault.keks.lines import parse
from services.vault.keks.transit import Login, TransitKek
from shared.clock import SystemClock
from shared.errors import Code, OmniError
from shared.sealing import CannotOpen
from tests.integration.key_services import (
    CREDENTIALS,
    Bao,
    Kms,
    bao_server,
    kms_server,
    service_account_token,
    token_reviews,
)
from tests.integration.servers import free_port

KINDS = ("local", "aws-kms", "transit")
REMOTE = KINDS[1:]


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        with kms_server(tmp_path_factory.mktemp("kms")) as server:
            yield server


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with bao_server(tmp_path_factory.mktemp("bao")) as server:
        yield server


def new_line(kind: str, kms: Kms, bao: Bao) -> str:
    if kind == "local":
        return secrets.token_hex(32)
    return kms.new_key() if kind == "aws-kms" else bao.new_key(uuid4().hex)


@pytest.fixture
async def kek(request: pytest.FixtureRequest, kms: Kms, bao: Bao) -> AsyncIterator[Kek]:
    made = parse(new_line(request.param, kms, bao), "x", production=True)
    yield made
    await made.close()


def place_of(kek: Kek) -> DekPlace:
    return DekPlace(1, uuid4(), kek.id)


async def opens(kek: Kek, wrapped: bytes, place: DekPlace) -> bool:
    with suppress(CannotOpen):
        await kek.unwrap(wrapped, place)
        return True
    return False


@pytest.mark.parametrize("kek", KINDS, indirect=True)
async def test_a_dek_comes_back_and_only_in_its_place(kek: Kek) -> None:
    place, dek = place_of(kek), secrets.token_bytes(32)
    wrapped = await kek.wrap(dek, place)
    assert dek not in wrapped
    assert await kek.unwrap(wrapped, place) == dek
    for elsewhere in (
        replace(place, workspace_id=2),
        replace(place, dek_id=UUID(int=place.dek_id.int ^ 1)),
        replace(place, kek_id=f"{kek.id}x"),
    ):
        assert not await opens(kek, wrapped, elsewhere)
    assert not await opens(kek, b"", place)


@pytest.mark.parametrize("kek", KINDS, indirect=True)
async def test_an_altered_dek_is_refused(kek: Kek) -> None:
    place, refused = place_of(kek), 0
    wrapped = await kek.wrap(secrets.token_bytes(32), place)
    # Of moto only the ciphertext proper is tested: what comes before it is its own encoding of the key's id.
    skip = {"aws-kms:": 40, "transit:": len("vault:v1:")}.get(kek.id.partition(":")[0] + ":", 0)
    for number in range(skip, len(wrapped), 3):
        altered = bytearray(wrapped)
        altered[number] = altered[number] % 90 + 33 if altered[number] % 90 + 33 != altered[number] else 65
        refused += not await opens(kek, bytes(altered), place)
    tried = len(range(skip, len(wrapped), 3))
    print(f"altered wrapped data keys: kek={kek.id.partition(':')[0]} tried={tried} refused={refused}")
    assert refused == tried
    for cut in (wrapped[:-1], wrapped[: skip + 4], wrapped + b"A"):
        assert not await opens(kek, cut, place)


@pytest.mark.parametrize("kind", KINDS)
async def test_another_key_does_not_open_it(kind: str, kms: Kms, bao: Bao) -> None:
    one, other = (parse(new_line(kind, kms, bao), "x", production=True) for _ in range(2))
    place = place_of(one)
    wrapped = await one.wrap(secrets.token_bytes(32), place)
    with pytest.raises((CannotOpen, OmniError)):
        await other.unwrap(wrapped, place)
    for kek in (one, other):
        await kek.close()


@pytest.mark.parametrize("kek", REMOTE, indirect=True)
async def test_a_silent_key_service_is_unavailable_and_may_come_back(kek: Kek, kms: Kms, bao: Bao) -> None:
    server = kms if kek.id.startswith("aws") else bao
    place, dek, clock = place_of(kek), secrets.token_bytes(32), SystemClock()
    wrapped = await kek.wrap(dek, place)
    server.pause()
    try:
        began = clock.monotonic()
        for asked in (kek.unwrap(wrapped, place), kek.wrap(dek, place)):
            with pytest.raises(OmniError) as caught:
                await asked
            assert caught.value.code is Code.UNAVAILABLE
        seconds = (clock.monotonic() - began) / 2
    finally:
        server.resume()
    print(f"silent key service: kek={kek.id.partition(':')[0]} given up after {seconds:.1f} s")
    assert seconds < 6
    assert await kek.unwrap(wrapped, place) == dek


@pytest.mark.parametrize("kind", REMOTE)
async def test_nobody_listening_is_unavailable(kind: str, kms: Kms, bao: Bao) -> None:
    line = new_line(kind, kms, bao).replace(kms.url, "X").replace(bao.url, "X")
    kek = parse(line.replace("X", f"http://127.0.0.1:{free_port()}"), "x", production=True)
    with pytest.raises(OmniError) as caught:
        await kek.wrap(secrets.token_bytes(32), place_of(kek))
    assert caught.value.code is Code.UNAVAILABLE
    await kek.close()


async def test_a_sealed_bao_is_unavailable_until_it_is_unsealed(bao: Bao) -> None:
    kek = parse(bao.new_key("sealing"), "x", production=True)
    place, dek = place_of(kek), secrets.token_bytes(32)
    wrapped = await kek.wrap(dek, place)
    await asyncio.to_thread(bao.seal)
    with pytest.raises(OmniError) as caught:
        await kek.unwrap(wrapped, place)
    assert caught.value.code is Code.UNAVAILABLE
    await asyncio.to_thread(bao.unseal)
    for _ in range(100):
        with suppress(OmniError):
            assert await kek.unwrap(wrapped, place) == dek
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("it did not come back")
    await kek.close()


async def test_a_refused_token_is_read_again_from_its_file(bao: Bao) -> None:
    kek = parse(bao.new_key("tokens"), "x", production=True)
    place, dek = place_of(kek), secrets.token_bytes(32)
    wrapped = await kek.wrap(dek, place)
    bao.call("POST", "auth/token/revoke", token=bao.token_file.read_text().strip())
    with pytest.raises(OmniError) as caught:
        await kek.unwrap(wrapped, place)
    assert caught.value.code is Code.UNAVAILABLE
    bao.new_token()
    assert await kek.unwrap(wrapped, place) == dek
    await kek.close()


async def test_a_service_account_logs_in_and_again_when_its_token_has_ended(bao: Bao, tmp_path: Path) -> None:
    jwt, secret = tmp_path / "jwt", service_account_token()
    jwt.write_text(secret)
    line = bao.new_key("cluster").partition(" ")[0]
    with token_reviews() as url:
        bao.call("POST", "sys/auth/kubernetes", type="kubernetes")
        # Asked for, although the server of this test speaks plain HTTP.
        authority = {"kubernetes_ca_cert": certifi.contents(), "disable_local_ca_jwt": True}
        bao.call("POST", "auth/kubernetes/config", kubernetes_host=url, token_reviewer_jwt=secret, **authority)
        role = {"bound_service_account_names": ["vault"], "bound_service_account_namespaces": ["omnipost"]}
        bao.call("POST", "auth/kubernetes/role/omnipost", token_policies=["vault"], **role)
        kek = parse(f"{line} kubernetes_role=omnipost jwt_file={jwt}", "x", production=True)
        place, dek = place_of(kek), secrets.token_bytes(32)
        wrapped = await kek.wrap(dek, place)
        for accessor in bao.call("LIST", "auth/token/accessors")["data"]["keys"]:  # type: ignore[index]
            with suppress(AssertionError):  # one of another test may have ended meanwhile
                found = bao.call("POST", "auth/token/lookup-accessor", accessor=accessor)["data"]
                if found["path"] == "auth/kubernetes/login":  # type: ignore[index]
                    bao.call("POST", "auth/token/revoke-accessor", accessor=accessor)
        assert await kek.unwrap(wrapped, place) == dek
    await kek.close()


async def test_a_key_that_does_not_exist_is_not_made(bao: Bao) -> None:
    line = bao.new_key("exists").replace("/exists", "/missing")
    kek = parse(line, "x", production=True)
    with pytest.raises(OmniError) as caught:
        await kek.wrap(secrets.token_bytes(32), place_of(kek))
    assert caught.value.code is Code.UNAVAILABLE
    await kek.close()


async def test_the_token_never_shows(bao: Bao) -> None:
    token = bao.token_file.read_text().strip()
    login = Login(token_file=bao.token_file.with_name("none"))
    kek = TransitKek(f"{bao.url}/v1/transit/keys/any", login)
    with pytest.raises(OmniError) as caught:
        await kek.wrap(secrets.token_bytes(32), place_of(kek))
    assert caught.value.code is Code.UNAVAILABLE
    assert token not in repr(kek) + repr(login) + str(caught.value)
    await kek.close()
