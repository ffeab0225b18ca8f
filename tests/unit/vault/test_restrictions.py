"""Keys restricted to models and regions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vault.domain import keys
from shared.errors import Code, OmniError
from shared.messages.vault import RestrictionsV1
from tests.unit.vault.test_vault_keys import KEY, LATER, REQUEST

NAMES = st.text("gpt-4o.mini/x", min_size=1, max_size=12)


def restricted(models: set[str] | None = None, regions: set[str] | None = None) -> RestrictionsV1:
    return RestrictionsV1(
        models=None if models is None else frozenset(models), regions=None if regions is None else frozenset(regions)
    )


@given(NAMES, NAMES)
def test_a_model_is_allowed_by_its_name_or_its_beginning(model: str, other: str) -> None:
    assert restricted({model}).refuses(model, None) is None
    assert (restricted({other}).refuses(model, None) is None) == (model == other)
    assert (restricted({other + "*"}).refuses(model, None) is None) == model.startswith(other)


@pytest.mark.parametrize(
    ("restrictions", "model", "region", "refused"),
    [
        (restricted(), None, None, None),
        (restricted({"gpt-4o*"}), "gpt-4o-mini", None, None),
        (restricted({"gpt-4o*"}), "gpt-4", None, "model"),
        (restricted({"gpt-4o"}), "gpt-4o-mini", None, "model"),
        (restricted({"GPT-4o"}), "gpt-4o", None, "model"),
        (restricted({"*"}), "anything", None, None),
        (restricted({"*"}), None, None, "model"),
        (restricted({"*"}), "", None, "model"),
        (restricted(regions={"eu"}), None, "eu", None),
        (restricted(regions={"eu"}), None, "us", "region"),
        (restricted(regions={"eu"}), None, None, "region"),
        (restricted(set(), set()), "gpt-4o", "eu", "model"),
        (restricted({"m"}, {"eu"}), "m", "us", "region"),
        (restricted({"m"}, {"eu"}), "n", "us", "model"),
    ],
)
def test_what_is_refused(restrictions: RestrictionsV1, model: str | None, region: str | None, refused: str) -> None:
    assert restrictions.refuses(model, region) == refused


@pytest.mark.parametrize(
    "bad",
    [
        restricted(set()),
        restricted(regions=set()),
        restricted({""}),
        restricted({"x" * 201}),
        restricted({"gpt*4"}),
        restricted({"**"}),
        restricted({"a\nb"}),
        restricted(regions={"EU"}),
        restricted(regions={"e u"}),
        restricted(regions={""}),
        restricted(regions={"eu*"}),
    ],
)
def test_bad_restrictions(bad: RestrictionsV1) -> None:
    with pytest.raises(OmniError) as caught:
        keys.check_restrictions(bad)
    assert caught.value.code is Code.INVALID_REQUEST
    assert caught.value.extra["field"] in {"models", "regions"}


def test_good_restrictions() -> None:
    for good in (restricted(), restricted({"gpt-4o*", "*", "meta/llama-3:free"}, {"eu", "us", "ap-south-1"})):
        keys.check_restrictions(good)


@pytest.mark.parametrize(
    ("changes", "extra", "detail"),
    [
        (
            {"model": "o3", "region": "eu"},
            {"model": "o3"},
            "This key doesn't allow the model o3. Add it to the key's models or pick another alias.",
        ),
        (
            {"model": "gpt-4o", "region": "us"},
            {"region": "us"},
            "This key doesn't allow the region us. Add it to the key's regions or pick another alias.",
        ),
        (
            {"model": "gpt-4o"},
            {"region": None},
            "This key doesn't allow an unknown region. Add it to the key's regions or pick another alias.",
        ),
    ],
)
def test_a_refused_lease_says_why(changes: dict[str, str], extra: dict[str, str | None], detail: str) -> None:
    key = replace(KEY, restrictions=restricted({"gpt-4o*"}, {"eu"}))
    problem = keys.may_lease(key, REQUEST.model_copy(update=changes))
    assert problem
    assert (problem.code, problem.detail) == (Code.UNSUPPORTED_SCOPE, detail)
    assert problem.extra == {"key_id": str(KEY.id), **extra}
    assert keys.may_lease(key, REQUEST.model_copy(update={**changes, "verifying": True})) is None
    allowed = {"model": "gpt-4o-mini", "region": "eu"}
    assert keys.may_lease(key, REQUEST.model_copy(update=allowed)) is None


def test_changing_restrictions() -> None:
    narrow = restricted({"gpt-4o"})
    narrowed = keys.changed(KEY, None, None, narrow, LATER)
    assert (narrowed.restrictions, narrowed.updated_at) == (narrow, LATER)
    assert keys.changed(narrowed, None, None, None, LATER) is narrowed
    assert keys.changed(narrowed, None, None, restricted(), LATER).restrictions == restricted()
    assert narrowed.public().restrictions == narrow
    assert not keys.same_request(narrowed, KEY)
