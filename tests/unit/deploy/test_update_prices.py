import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import types
from genai_prices.data import providers

from deploy.local import update_prices
from services.router.prices import THEIR_IDS


@pytest.fixture
def published() -> list[dict[str, Any]]:
    """The installed data in the form it is published in."""
    data: list[dict[str, Any]] = json.loads(json.dumps(_plain([p for p in providers if p.id in THEIR_IDS.values()])))
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, types.ModelPrice):
        return {key: _plain(price) for key, price in vars(value).items() if price is not None}
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        kept = {
            name: item
            for name, item in fields.items()
            if item is not None and name not in ("extractors", "provider_match")
        }
        return {name.rstrip("_"): _plain(item) for name, item in kept.items() if not name.startswith("_")}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | time) else value


def _model(data: list[dict[str, Any]], provider: str, model: str) -> dict[str, Any]:
    models: list[dict[str, Any]] = next(item for item in data if item["id"] == provider)["models"]
    return next(item for item in models if item["id"] == model)


def _doctored(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mini = _model(data, "openai", "gpt-4o-mini")["prices"]
    mini |= {"input_mtok": {"base": 0.2, "tiers": [{"start": 200_000, "price": 0.4}]}, "output_mtok": 0.9}
    _model(data, "mistral", "mistral-embed")["prices"] = {"input_document_kpages": 1}
    zhipu = next(item for item in data if item["id"] == "zhipuai")["models"]
    zhipu.append({"id": "embedding-3", "match": {"equals": "embedding-3"}, "prices": {"input_mtok": 0.07}})
    return data


def _out(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_installed_data_changes_nothing(
    published: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(published))
    assert update_prices.main([str(file)]) == 0
    assert _out(capsys) == ["prices: 0 changed, 0 new, 0 gone"]


def test_a_doctored_copy_shows_exactly_its_differences(
    published: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(_doctored(published)))
    assert update_prices.main([str(file)]) == 0
    *lines, advice, last = _out(capsys)
    assert lines == [
        "changed  openai/gpt-4o-mini input 0.15 -> 0.2, above 200,000 tokens 0.4",
        "changed  openai/gpt-4o-mini output 0.6 -> 0.9",
        "gone     mistral/mistral-embed input 0.1, output 0.1",
        "new      zhipu/embedding-3 input 0.07",
    ]
    assert "requirements/run.in" in advice
    assert last == "prices: 1 changed, 1 new, 1 gone"


@pytest.mark.parametrize("text", [None, "no json", "{}", "[1]"])
def test_what_is_no_data_file_is_said_to_be_none(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.json"
    if text is not None:
        file.write_text(text)
    assert update_prices.main([str(file)]) == 2
    assert "is no data file of genai-prices" in capsys.readouterr().err


def test_more_than_one_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert update_prices.main(["a", "b"]) == 2
    assert capsys.readouterr().err.startswith("usage:")


@contextmanager
def _site(status: int, body: bytes, release: threading.Event | None = None) -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if release is not None:
                release.wait(20)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_is_published_is_fetched_by_the_tables_own_door(published: list[dict[str, Any]]) -> None:
    with _site(200, json.dumps(published).encode()) as url:
        assert update_prices.fetch(url).find_provider("gpt-4o-mini", "openai", None).id == "openai"


def test_a_site_that_is_away_broken_or_silent_is_named_with_what_to_do() -> None:
    release = threading.Event()
    with _site(503, b"") as broken, _site(200, b"", release) as silent:
        for url, within_s in (("http://127.0.0.1:1/data.json", 5.0), (broken, 5.0), (silent, 0.2)):
            with pytest.raises(update_prices.CannotCompare, match=r"FROM=<a copy of that file>"):
                update_prices.fetch(url, within_s)
        release.set()
