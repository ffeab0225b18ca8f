"""The audit's chain: nothing in it can be altered, left out, swapped or cut off unnoticed."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.vault.domain import audit
from services.vault.domain.audit import GENESIS, Break, Head, Link, Walk
from shared.messages.vocabulary import Modality
from tests.unit.vault.test_vault_keys import KEY

AUDITING = bytes(range(32))
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LENGTH = 200


def chain(length: int = LENGTH, auditing: bytes = AUDITING) -> tuple[list[Link], Head]:
    links: list[Link] = []
    for seq in range(1, length + 1):
        bare = Link(
            workspace_id=7,
            seq=seq,
            at=NOW + timedelta(seconds=seq),
            action="key_changed",
            key_id=UUID(int=seq) if seq % 3 else None,
            actor={"kind": "token", "id": str(seq), "role": "admin", "address": "10.0.0.1"},
            trace_id=f"{seq:032x}" if seq % 2 else None,
            facts={"version": seq, "label": True},
            previous=links[-1].hash if links else GENESIS,
        )
        links.append(replace(bare, hash=bare.computed(auditing)))
    return links, head_at(links, auditing)


def head_at(links: Sequence[Link], auditing: bytes = AUDITING) -> Head:
    head = Head(7, len(links), links[-1].hash)
    return replace(head, seal=head.computed(auditing))


def walked(links: Sequence[Link], head: Head | None) -> Break | None:
    walk = Walk(7, AUDITING)
    return next((found for link in links if (found := walk.step(link))), None) or walk.end(head)


def altered(link: Link) -> list[Link]:
    """``link`` with every field changed in turn, also to what looks nearly the same."""
    return [
        replace(link, workspace_id=8),
        replace(link, at=link.at + timedelta(microseconds=1)),
        replace(link, action=link.action + "d"),
        replace(link, key_id=None if link.key_id else UUID(int=0)),
        replace(link, actor={**link.actor, "id": "somebody else"}),
        replace(link, actor={**link.actor, "more": None}),
        replace(link, actor=None),
        replace(link, trace_id=None if link.trace_id else ""),
        replace(link, facts={**link.facts, "version": str(link.seq)}),
        replace(link, facts={}),
        replace(link, previous=bytes(31) + b"\x01"),
        replace(link, hash=bytes([link.hash[0] ^ 1]) + link.hash[1:]),
    ]


def test_an_untouched_chain_is_whole() -> None:
    links, head = chain()
    assert walked(links, head) is None
    assert walked([], None) is None
    assert walked([replace(link, at=link.at.astimezone()) for link in links], head) is None


def test_every_alteration_is_found_where_it_is() -> None:
    links, head = chain()
    found = 0
    for place in random.sample(range(LENGTH), 50):
        for forged in altered(links[place]):
            assert walked([*links[:place], forged, *links[place + 1 :]], head) == Break(place + 1, "altered")
            found += 1
    print(f"\naudit chain: entries={LENGTH} altered={found} found={found}")


def test_what_is_left_out_moved_or_cut_off_is_found_where_it_is() -> None:
    links, head = chain()
    for place in range(LENGTH - 1):
        assert walked(links[:place] + links[place + 1 :], head) == Break(place + 1, "missing")
        assert walked(links[:place], head) == Break(place + 1, "cut_off")
        swapped = [*links[:place], links[place + 1], links[place], *links[place + 2 :]]
        assert walked(swapped, head) == Break(place + 1, "missing")
        renumbered = [replace(links[place + 1], seq=place + 1), replace(links[place], seq=place + 2)]
        assert walked([*links[:place], *renumbered, *links[place + 2 :]], head) == Break(place + 1, "altered")


def test_the_head_cannot_be_moved_without_the_key() -> None:
    links, head = chain()
    shorter = links[:-10]
    assert walked(shorter, replace(head, seq=len(shorter), hash=shorter[-1].hash)) == Break(190, "altered")
    assert walked(shorter, head_at(shorter, b"x" * 32)) == Break(190, "altered")
    assert walked(links, replace(head, hash=bytes(32))) == Break(200, "altered")
    assert walked(links, None) == Break(200, "missing")
    # An older head that somebody kept is genuine: the chain alone cannot tell, the log can.
    assert walked(shorter, head_at(shorter)) is None
    assert walked(links, head_at(shorter)) == Break(200, "altered")


def test_a_chain_under_another_key_is_no_chain() -> None:
    assert walked(*chain(5, b"y" * 32)) == Break(1, "altered")


def test_what_an_entry_says_of_a_change() -> None:
    wider = replace(KEY, scopes=KEY.scopes | {Modality.IMAGE}, label="in confidence")
    facts = audit.differences(KEY, wider)
    assert facts == {"label": True, "scopes": "image,text", "scopes_before": "text"}
    assert audit.differences(KEY, KEY) == {}
    assert "in confidence" not in str(audit.beginning(wider))
