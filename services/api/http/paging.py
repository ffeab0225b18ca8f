"""``limit`` and ``cursor`` of every list."""

from typing import Annotated

from fastapi import Depends, Query, Request

from services.api.domain.pages import LONGEST, Cursors, Pager

Limit = Annotated[int | None, Query(ge=1, le=1000, description="How many at most; left out: all there are.")]
CursorText = Annotated[
    str | None, Query(min_length=1, max_length=LONGEST, description="The `next_cursor` of the page before.")
]


def _pager(request: Request, limit: Limit = None, cursor: CursorText = None) -> Pager:
    cursors: Cursors = request.app.state.cursors
    return Pager(cursors, limit, cursor)


def _cursors(request: Request) -> Cursors:
    cursors: Cursors = request.app.state.cursors
    return cursors


Page = Annotated[Pager, Depends(_pager)]
# For lists whose query is a model of its own.
TheCursors = Annotated[Cursors, Depends(_cursors)]
