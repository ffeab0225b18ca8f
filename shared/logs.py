"""Structured logs by allow-list: a field that is not named here is not written.

Third-party records keep their logger, level and *unformatted* template: their arguments and exception
messages may hold anything, so they are dropped; an exception is reduced to its types and code places. That holds for
what Python itself would print, too: exceptions that nobody catches, and warnings.
"""

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "service", "logger", "error", "where", "code", "status", "outcome", "provider",
        "model", "alias_name", "workspace_id", "key_id", "call_id", "attempt_id", "trace_id", "subject", "latency_ms",
        "count", "seconds", "seq", "hash", "port", "version", "reason", "delay_s", "stream", "attempt", "pid", "name",
        "request_id",
    }
)  # fmt: skip


def configure(service: str, level: str) -> None:
    """Send structlog and every other logger of this process to stdout as one JSON object a line."""
    threshold = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_service(service),
            _reduce_exception,
            _only_allowed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Foreign()]
    root.setLevel(max(threshold, logging.WARNING))
    sys.excepthook = lambda _, error, __: _last_words(error)
    threading.excepthook = lambda failed: _last_words(failed.exc_value)
    sys.unraisablehook = lambda failed: _last_words(failed.exc_value)
    warnings.showwarning = lambda _, category, filename, lineno, *__: _warned(category, filename, lineno)


def get() -> Any:  # noqa: ANN401 - structlog's bound loggers are dynamic
    """The process's logger."""
    return structlog.get_logger()


def about_request(request_id: str) -> AbstractContextManager[None]:
    """Whatever is logged inside is about this request."""
    return structlog.contextvars.bound_contextvars(request_id=request_id)


def request_id() -> str | None:
    """The request that this is about; None outside of one."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


def places(error: BaseException) -> list[str]:
    """Where ``error`` passed through, as ``file:line function``, innermost last; never a value."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames]


def kinds(error: BaseException) -> str:
    """The type names of ``error`` and what caused it."""
    names: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(names) < 5:
        names.append(type(seen).__name__)
        seen = seen.__cause__ or seen.__context__
    return " < ".join(names)


def _last_words(error: BaseException | None) -> None:
    get().error("an exception was not caught", exc=error)


def _warned(category: type[Warning], filename: str, lineno: int) -> None:
    get().warning("a warning", error=category.__name__, where=[f"{filename.rsplit('/', 2)[-1]}:{lineno}"])


class _Foreign(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1]:
            fields |= {"error": kinds(record.exc_info[1]), "where": places(record.exc_info[1])}
        structlog.get_logger().log(record.levelno, str(record.msg)[:200] if record.args else record.name, **fields)


def _with_service(service: str) -> structlog.typing.Processor:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401
        event["service"] = service
        return event

    return add


def _reduce_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401
    error = event.pop("exc", None)
    if isinstance(error, BaseException):
        event["error"], event["where"] = kinds(error), places(error)
    return event


def _only_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401
    return {name: value for name, value in event.items() if name in ALLOWED}
