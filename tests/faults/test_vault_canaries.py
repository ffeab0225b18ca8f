"""Canary keys at the most talkative log level, with every service crashing while it holds them, and broken settings."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.messages.base import Service
from shared.testing.stack import ROOT, Stack, full_run
from shared.testing.upstream import Upstream
from tests.e2e.canaries import Search, draw
from tests.e2e.canary_run import CanaryRun
from tests.e2e.spray import whole
from tests.e2e.watched import Watched, watch
from tests.e2e.world import CHAT, accept_keys, chat_answer, eventually, ok

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL)
# A machine under load takes long to start fourteen processes; most of them end by themselves.
START_S = 40
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class TestVaultCanaries:
    async def test_crashes_and_debug_logs_show_no_key(self, tmp_path: Path) -> None:
        canaries = draw(200)
        async with watch(tmp_path / "home", "debug") as watched:
            run = CanaryRun(watched, canaries, thorough=full_run())
            await run.live()
            before = _cores(watched.stack)
            raised = [await _crash(watched, run, part, how) for part in Service for how in CRASHES]
            left = _cores(watched.stack) - before
            logged = {part: watched.stack.log(part) for part in Service}
            search, found = await run.search()
            found += [hit for folder in left for hit in search.look(str(folder), folder.read_bytes())]
        print(
            f"canaries={len(run.sent)} routes={len(run.routes)} answers={len(run.answers)} crashes={len(raised)} "
            f"core_limits_raised={sum(raised)} "
            f"files={search.files} bytes={search.bytes} cores={len(left)} found={len(found)}"
        )
        assert not found[:20]
        assert not left
        assert len(run.sent) == len(canaries)
        assert [part for part, text in logged.items() if text.count('"serving"') + text.count('"ready"') <= 3] == []

    def test_a_process_that_may_dump_core_does_so_here(self, tmp_path: Path) -> None:
        """Without this the run above would find no core on a machine that makes none."""
        crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
        process = subprocess.Popen([sys.executable, "-c", f"input(); {crash}"], cwd=tmp_path, stdin=subprocess.PIPE)
        raised = _raise_limit(process.pid)
        process.communicate(b"\n")
        pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
        made = list(tmp_path.iterdir())
        print(f"control: core_pattern={pattern} limit_raised={raised} cores={len(made)}")
        assert process.returncode == -signal.SIGSEGV
        assert made or not raised or pattern.startswith(("|", "/")), "a core was to be expected here"

    @pytest.mark.parametrize("service", list(Service))
    def test_settings_that_hold_a_key_are_not_repeated(self, service: Service, tmp_path: Path) -> None:
        [canary] = draw(1)
        search = Search([canary])
        environments = [{"PATH": os.defpath, "OMNIPOST_PORT": "1", **one} for one in _broken_settings(canary, tmp_path)]
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda one: _output(f"services.{service}", one), environments))
        found = [hit for text in said for hit in search.look(service, text)]
        explained = len([text for text in said if b"reason" in text])
        print(f"{service}: starts={len(said)} explained={explained} bytes={search.bytes} found={len(found)}")
        assert not found
        assert explained > 5

    def test_commands_do_not_repeat_settings_that_hold_a_key(self, tmp_path: Path) -> None:
        [canary] = draw(1)
        search, found, said = Search([canary]), [], 0
        for module in ("deploy.local", "shared.migrate"):
            for broken in _broken_settings(canary, tmp_path):
                environment = {"PATH": os.defpath, "OMNIPOST_HOME": str(tmp_path / "h"), "OMNIPOST_PORT": "1"}
                environment |= {"ROLE_PASSWORDS_DIR": str(tmp_path)} | broken
                text = _output(module, environment)
                said += bool(text)
                found += search.look(f"{module} {sorted(broken)}", text)
        print(f"commands: said={said} bytes={search.bytes} found={len(found)}")
        assert not found


async def _crash(watched: Watched, run: CanaryRun, part: Service, how: signal.Signals) -> bool:
    """End ``part`` with a signal while a key is in its memory and a call with it is under way.

    True when its core limit could be raised first, so that nothing but its being "not dumpable" prevented a core.
    """
    world, stack = watched.world, watched.stack
    canary = run.canaries[len(run.answers) % len(run.canaries)]
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(delay_s=0.5))
        workspace, provider = await world.workspace(), await world.provider(upstream)
        key = await world.key(workspace, provider, api_key=canary)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))
        calling = asyncio.create_task(world.invoke(workspace, alias, prompt=canary))
        replacing = asyncio.create_task(world.admin.put(f"/ai-keys/{key['id']}", api_key=canary))
        await upstream.arrival(3)
        pid = stack.pid(part)
        raised = _raise_limit(pid)
        os.kill(pid, how)
        for answer in await asyncio.gather(calling, replacing, return_exceptions=True):
            run.answers.append(repr(answer).encode() if isinstance(answer, BaseException) else whole(answer))
        await eventually(lambda: _back(stack, part, pid), within_s=30)
    return raised


async def _back(stack: Stack, part: Service, pid: int) -> bool | None:
    return (stack.pid(part) != pid and await asyncio.to_thread(stack.is_ready)) or None


def _raise_limit(pid: int) -> bool:
    """Allow ``pid`` to dump core; False when we may not (above its hard limit that takes CAP_SYS_RESOURCE)."""
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, UNLIMITED)
    except PermissionError:
        return False
    return True


def _cores(stack: Stack) -> set[Path]:
    folders = (ROOT, stack.home, stack.home / "run", Path("/"), Path("/tmp"))  # noqa: S108 - where cores may fall
    return {file for folder in folders for file in folder.glob("*core*") if file.is_file()}


def _broken_settings(canary: str, folder: Path) -> list[dict[str, str]]:
    """Environments in which one setting after another, or all of them, hold the canary."""
    (folder / "file").write_text(canary)
    held = str(folder / "file")
    files = ("NATS_NKEY_SEED_FILE", "VAULT_IDENTITY_FILE", "VAULT_PUBLIC_FILE", "TOKEN_PEPPER_FILE", "ADMIN_TOKEN_FILE")
    urls = {"NATS_URL": f"nats://{canary}@127.0.0.1:1", "DATABASE_URL": f"postgresql://u:{canary}@127.0.0.1:1/x"}
    values = ("LOG_LEVEL", "OMNIPOST_ENV", "OMNIPOST_PORT", "METERING_SWEEP_S", "AI_ENCRYPTION_KEY", "NATS_URL",
              "DATABASE_URL", "OMNIPOST_ALLOWED_PRIVATE_HOSTS", "OTEL_EXPORTER_OTLP_ENDPOINT")  # fmt: skip
    everything = dict.fromkeys(files, held) | urls
    return [
        everything | dict.fromkeys(values, canary) | {"AI_ENCRYPTION_KEY": canary[:12]},
        everything | {"AI_ENCRYPTION_KEY": canary[:12]},
        *(everything | {"AI_ENCRYPTION_KEY": canary[:9], name: canary} for name in values),
        *(everything | {"DATABASE_URL": url} for url in _odd_urls(canary)),
    ]


def _odd_urls(canary: str) -> list[str]:
    here = "127.0.0.1"
    return [f"postgresql://u:{canary}/{canary}@{here}:1/x", f"postgresql://u:p@{here}:{canary}/x", f"{canary} x=1"]


def _output(module: str, environment: dict[str, str]) -> bytes:
    """What a program says that ends by itself, or is ended after some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        return process.communicate(timeout=START_S)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.communicate()[0]
