"""What is said of a body that does not match: names of fields and rules, never values."""

from typing import Any

from shared.errors import Code, OmniError, faults_of


def invalid_body(errors: Any) -> OmniError:  # noqa: ANN401 - pydantic's list of error details
    """The problem of a body or query that does not match."""
    faults = faults_of(errors)
    first = faults[0] if faults else {"field": "", "problem": "The request does not match."}
    where = f"'{first['field']}': " if first["field"] else ""
    return OmniError(Code.INVALID_REQUEST, f"{where}{first['problem']}", extra={"errors": faults})
