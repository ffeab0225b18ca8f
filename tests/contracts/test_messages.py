"""Every published contract: a version in name and subject, an owner, an example that holds, no value in its errors."""

import re

import pydantic
import pytest

from shared.messages import ALL, EVENTS, RECORDS, REQUESTS
from shared.messages.base import Message, Request, Service
from shared.permissions import permissions_of


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.__name__)
def test_the_contract_is_complete(message: type[Message]) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+V[1-9]\d*", message.__name__)
    version = message.__name__.rpartition("V")[2]
    assert message.subject.endswith(f".v{version}") or message.subject == "ai.invoke.{workspace_id}"
    assert message.__doc__
    made = message.model_validate(message.example)
    assert message.model_validate_json(made.model_dump_json()) == made
    assert made.address().count(".") == message.pattern().count(".")


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.__name__)
def test_errors_do_not_repeat_what_they_refuse(message: type[Message]) -> None:
    canary = "sk-canary-0123456789"
    body = dict.fromkeys([*message.model_fields, "unknown"], canary)
    with pytest.raises(pydantic.ValidationError) as raised:
        message.model_validate({**body, "workspace_id": [canary]})
    assert canary not in str(raised.value)


def test_subjects_are_unique() -> None:
    patterns = [message.pattern() for message in ALL]
    assert len(set(patterns)) == len(patterns)


def test_every_message_is_of_one_kind() -> None:
    assert set(REQUESTS) | set(EVENTS) | set(RECORDS) == set(ALL)


def test_only_the_router_may_lease_keys_and_only_the_vault_may_block_them() -> None:
    for service in Service:
        row = permissions_of(service)
        assert ("ai.vault.lease.v1" in row.publish) == (service is Service.ROUTER)
        assert ("ai.metering.keys.block.v1" in row.publish) == (service is Service.VAULT)
        assert not [subject for subject in row.publish + row.subscribe if subject in (">", "*", "ai.>")]


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda message: message.__name__)
def test_only_the_owner_serves_a_request(request_type: type[Request]) -> None:
    serving = [service for service in Service if request_type.pattern() in permissions_of(service).subscribe]
    assert serving == [request_type.owner]
