"""Every failure leaves as RFC 9457 problem details, without a stack trace and without repeating the request."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from services.api.domain.faults import invalid_body
from services.api.http.call_headers import failure_headers
from services.api.http.failures import methods_of
from shared import logs
from shared.errors import Code, OmniError

MAX_BODY_BYTES = 4 * 1024 * 1024
MEDIA_TYPE = "application/problem+json"
_TITLES: Mapping[Code, str] = {code: code.replace("_", " ").capitalize() for code in Code}
_OF_STATUS = {401: Code.UNAUTHORIZED, 403: Code.FORBIDDEN, 404: Code.NOT_FOUND, 503: Code.UNAVAILABLE}


def problem_document(error: OmniError) -> dict[str, Any]:
    """What ``error`` says, as RFC 9457 has it."""
    known = {
        "type": f"urn:omnipost:problem:{error.code}",
        "title": _TITLES[error.code],
        "status": error.status,
        "code": error.code.value,
        "detail": error.detail,
        "request_id": logs.request_id(),
    }
    return {name: value for name, value in {**known, **error.extra}.items() if value is not None}


def problem_response(error: OmniError) -> Response:
    """The response that stands for ``error``."""
    body = json.dumps(problem_document(error), ensure_ascii=False)
    return Response(body, error.status, failure_headers(error), MEDIA_TYPE)


def too_large() -> OmniError:
    """The problem of a body above ``MAX_BODY_BYTES``."""
    return OmniError(Code.INVALID_REQUEST, f"The body is larger than {MAX_BODY_BYTES >> 20} MiB.", status=413)


def told(error: Exception) -> OmniError:
    """What a caller is told of ``error``: of a crash nothing but that there was one, and the log has it."""
    if isinstance(error, OmniError):
        return error
    return _of_status(error.status_code) if isinstance(error, HTTPException) else _unexpected(error)


def install(app: FastAPI) -> None:
    """Answer every exception of ``app`` with a problem."""

    async def omni(request: Request, error: Exception) -> Response:
        response = problem_response(told(error))
        if response.status_code == 405:
            # Starlette itself names those of the first route of that path only.
            response.headers["Allow"] = ", ".join(methods_of(request.app.openapi(), request.url.path))
        return response

    async def unmatched(_: Request, error: Exception) -> Response:
        errors = error.errors() if isinstance(error, RequestValidationError) else ()
        return problem_response(invalid_body(errors))

    app.add_exception_handler(Exception, omni)
    app.add_exception_handler(OmniError, omni)
    app.add_exception_handler(RequestValidationError, unmatched)
    app.add_exception_handler(HTTPException, omni)


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
