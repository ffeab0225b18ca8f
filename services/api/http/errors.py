"""Every failure leaves as RFC 9457 problem details, without a stack trace and without repeating the request."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from shared import logs
from shared.errors import Code, OmniError, faults_of

MAX_BODY_BYTES = 4 * 1024 * 1024
MEDIA_TYPE = "application/problem+json"
_TITLES: Mapping[Code, str] = {code: code.replace("_", " ").capitalize() for code in Code}
_OF_STATUS = {401: Code.UNAUTHORIZED, 403: Code.FORBIDDEN, 404: Code.NOT_FOUND, 503: Code.UNAVAILABLE}


def problem_document(error: OmniError) -> dict[str, Any]:
    """What ``error`` says, as RFC 9457 has it."""
    return {
        "type": f"urn:omnipost:problem:{error.code}",
        "title": _TITLES[error.code],
        "status": error.status,
        "code": error.code.value,
        "detail": error.detail,
        **{name: value for name, value in error.extra.items() if value is not None},
    }


def problem_response(error: OmniError) -> Response:
    """The response that stands for ``error``."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503) or "retry_after_s" in error.extra:
        headers["Retry-After"] = str(error.extra.get("retry_after_s", 1))
    return Response(json.dumps(problem_document(error), ensure_ascii=False), error.status, headers, MEDIA_TYPE)


def invalid_body(errors: Any) -> OmniError:  # noqa: ANN401 - pydantic's list of error details
    """The problem of a body or query that does not match."""
    faults = faults_of(errors)
    first = faults[0] if faults else {"field": "", "problem": "The request does not match."}
    where = f"'{first['field']}': " if first["field"] else ""
    return OmniError(Code.INVALID_REQUEST, f"{where}{first['problem']}", extra={"errors": faults})


def too_large() -> OmniError:
    """The problem of a body above ``MAX_BODY_BYTES``."""
    return OmniError(Code.INVALID_REQUEST, f"The body is larger than {MAX_BODY_BYTES >> 20} MiB.", status=413)


def install(app: FastAPI) -> None:
    """Answer every exception of ``app`` with a problem."""

    async def omni(_: Request, error: Exception) -> Response:
        return problem_response(error if isinstance(error, OmniError) else _unexpected(error))

    async def unmatched(_: Request, error: Exception) -> Response:
        errors = error.errors() if isinstance(error, RequestValidationError) else ()
        return problem_response(invalid_body(errors))

    async def plain(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return problem_response(_of_status(status))

    app.add_exception_handler(Exception, omni)
    app.add_exception_handler(OmniError, omni)
    app.add_exception_handler(RequestValidationError, unmatched)
    app.add_exception_handler(HTTPException, plain)


def _of_status(status: int) -> OmniError:
    if status == 404:
        return OmniError(Code.NOT_FOUND, "There is nothing at this address.")
    if status == 413:
        return too_large()
    if status == 405:
        return OmniError(Code.INVALID_REQUEST, "This address does not take that method.", status=405)
    code = _OF_STATUS.get(status, Code.INVALID_REQUEST)
    return OmniError(code, "The request could not be read; send a JSON object with content-type application/json.")


def _unexpected(error: Exception) -> OmniError:
    logs.get().error("request failed", exc=error)
    return OmniError(Code.INTERNAL, "Something went wrong on our side; the call log says whether a call was made.")
