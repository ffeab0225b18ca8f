"""The committed AsyncAPI document is the one the messages make, and says nothing that is not there."""

from typing import Any

from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from deploy.asyncapi import FILE, document, text
from shared.messages import ALL


def test_the_committed_document_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make asyncapi`"


def test_a_stranger_reads_it() -> None:
    read = ApplicationSchema.model_validate(document())
    assert {channel.address for channel in read.channels.values() if channel.address} == {one.subject for one in ALL}


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    found = list(_references(whole))
    for reference in found:
        place: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert len(found) > len(ALL)


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
