"""The house rules that no linter knows: sizes, rooms, names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ("api", "router", "vault", "metering")
SOURCES = sorted(
    path
    for folder in ("omnipost", "services", "shared", "deploy", "tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)
HTTP_LIBRARY = re.compile(
    r"^\s*(import|from) (httpx|httpx2|httpx_aiohttp|aiohttp|requests|urllib\.request)\b", re.MULTILINE
)
SDKS = r"openai|anthropic|google\.genai|google import genai|mistralai|groq|zai|replicate"
SDK = re.compile(rf"^\s*(import|from) ({SDKS})\b", re.MULTILINE)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert path.stem not in FORBIDDEN_NAMES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            begin = (first.end_lineno if documented else node.lineno) or 0
            assert (node.end_lineno or 0) - begin <= 40, f"{node.name} at line {node.lineno}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_rooms(service: str) -> None:
    home = ROOT / "services" / service
    rooms = ["README.md", "__main__.py", "app.py", "settings.py", "service.py", "store.py", "domain", "migrations"]
    if service != "api":
        rooms.append("subscribers.py")
    assert not [room for room in rooms if not (home / room).exists()]
    assert len((home / "README.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_are_numbered_without_gaps(service: str) -> None:
    files = sorted((ROOT / "services" / service / "migrations" / "versions").glob("[0-9]*.py"))
    assert [file.name[:4] for file in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    for number, file in enumerate(files, 1):
        text = file.read_text()
        assert re.search(rf'^revision = "{number:04d}"$', text, re.MULTILINE)
        previous = f'"{number - 1:04d}"' if number > 1 else "None"
        assert re.search(rf"^down_revision = {previous}$", text, re.MULTILINE)


def test_every_adapter_is_short_and_has_goldens() -> None:
    folders = {"google": "gemini"}
    for module in ("openai", "anthropic", "google", "mistral", "groq", "zhipu", "openrouter", "replicate"):
        assert len((ROOT / "services/router/providers" / f"{module}.py").read_text().splitlines()) <= 150
        assert list((ROOT / "tests/providers/fixtures" / folders.get(module, module)).glob("*.json"))


def test_nothing_of_the_test_material_is_in_the_repository() -> None:
    assert not (ROOT / "providers").exists()
    assert not [path for path in SOURCES if "recorded" in path.parts]


def test_few_modules_import_the_http_library() -> None:
    """The client of providers, that of webhooks, what both ask for addresses, and the KEK service's."""
    importers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.parts[len(ROOT.parts)] in ("services", "shared") and HTTP_LIBRARY.search(path.read_text())
    }
    assert importers == {
        "services/router/connections.py",
        "services/api/courier.py",
        "shared/resolving.py",
        "services/vault/keks/transit.py",
    }


def test_no_provider_sdk_is_imported_outside_the_tests() -> None:
    outside = [path for path in SOURCES if path.parts[len(ROOT.parts)] != "tests"]
    assert not [_name(path) for path in outside if SDK.search(path.read_text())]
    assert [path for path in SOURCES if SDK.search(path.read_text())], "the referees import them"


def test_no_provider_sdk_is_installed_with_the_services() -> None:
    locked = (ROOT / "requirements" / "run.lock").read_text()
    names = {line.split("==")[0] for line in locked.splitlines() if re.match(r"[a-z]", line)}
    assert not names & {"openai", "anthropic", "google-genai", "mistralai", "groq", "zai-sdk", "replicate", "litellm"}
    assert len(re.findall(r"--hash=sha256:", locked)) >= len(names)
