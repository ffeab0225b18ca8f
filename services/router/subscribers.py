"""What the router hears."""

from services.router.catalogue import Catalogue
from services.router.catalogue_service import Providers
from services.router.counting import Counting
from services.router.explain import Explain
from services.router.invoke import Invoke
from services.router.keys import KeyNews
from services.router.service import Aliases
from services.router.verification import Verdicts
from shared.bus import Bus
from shared.messages.catalogue import (
    CatalogueChangedV1,
    CreateAliasV1,
    CreateProviderV1,
    DeleteAliasV1,
    GetAliasV1,
    ListAliasesV1,
    ListProvidersV1,
    SeedWorkspaceV1,
    UpdateAliasV1,
    UpdateProviderV1,
)
from shared.messages.catalogue_audit import ListCatalogueChangesV1
from shared.messages.counting import CountTokensV1
from shared.messages.router import ExplainV1, InvokeV1, VerifyKeyV1
from shared.messages.vault import KeyChangedV1


def subscribe_calls(bus: Bus, invoke: Invoke, explain: Explain, counting: Counting, verdicts: Verdicts) -> None:
    """Calls, what they would do, how large they are, and checks of keys."""
    bus.answer_call(InvokeV1, invoke)
    bus.answer(ExplainV1, explain)
    bus.answer(CountTokensV1, counting)
    bus.answer(VerifyKeyV1, verdicts.verify)


def subscribe_catalogue(bus: Bus, aliases: Aliases, providers: Providers) -> None:
    """Aliases and providers."""
    bus.answer(ListAliasesV1, aliases.list)
    bus.answer(GetAliasV1, aliases.get)
    bus.answer(CreateAliasV1, aliases.create)
    bus.answer(UpdateAliasV1, aliases.update)
    bus.answer(DeleteAliasV1, aliases.delete)
    bus.answer(SeedWorkspaceV1, aliases.seed)
    bus.answer(ListProvidersV1, providers.list)
    bus.answer(CreateProviderV1, providers.create)
    bus.answer(UpdateProviderV1, providers.update)
    bus.answer(ListCatalogueChangesV1, providers.changes)


def subscribe_news(bus: Bus, catalogue: Catalogue, news: KeyNews) -> None:
    """What makes something remembered here stale."""
    bus.listen(CatalogueChangedV1, catalogue.changed)
    bus.listen(KeyChangedV1, news.changed)
    bus.on_reconnected(news.missed)
    bus.on_reconnected(lambda: catalogue.forget(None))
