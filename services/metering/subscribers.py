"""Which message goes to which method."""

from services.metering.actions import Actions
from services.metering.contents import Contents
from services.metering.credits import Credits
from services.metering.exports import Exports
from services.metering.letters import Letters
from services.metering.reconciling import Reconciliation
from services.metering.retention import Retention
from services.metering.service import MeteringService
from shared.bus import Bus
from shared.messages.bookkeeping import (
    DismissDeadLetterV1,
    GetRetentionV1,
    ListDeadLettersV1,
    QueryLedgerActionsV1,
    QueryUnknownV1,
    ReconcileAttemptV1,
    ReplayDeadLetterV1,
    SetRetentionV1,
)
from shared.messages.contents import GetContentPolicyV1, GetContentV1, SetContentPolicyV1, StoreContentV1
from shared.messages.export import ReadCallsV1
from shared.messages.health import PingMeteringV1
from shared.messages.metering import (
    BlockKeyV1,
    ListBudgetsV1,
    ReserveV1,
    ResumeBudgetV1,
    SetKeyBudgetV1,
    SetWorkspaceBudgetV1,
)
from shared.messages.platform_credits import AdmitPlatformKeyV1, GetCreditsV1, SetCreditsV1
from shared.messages.usage import QueryCallsV1, QueryUsageV1


def subscribe(bus: Bus, metering: MeteringService) -> None:
    """Serve every request of metering; finished calls come through the stream's consumer."""
    bus.answer_call(ReserveV1, metering.reserve)
    bus.answer(SetKeyBudgetV1, metering.set_key_budget)
    bus.answer(SetWorkspaceBudgetV1, metering.set_workspace_budget)
    bus.answer(ResumeBudgetV1, metering.resume_budget)
    bus.answer(BlockKeyV1, metering.block_key)
    bus.answer(AdmitPlatformKeyV1, metering.admit_platform_key)
    bus.answer(ListBudgetsV1, metering.list_budgets)
    bus.answer(QueryUsageV1, metering.query_usage)
    bus.answer(QueryCallsV1, metering.query_calls)
    bus.answer(PingMeteringV1, metering.ping)


def subscribe_books(
    bus: Bus, letters: Letters, reconciliation: Reconciliation, retention: Retention, actions: Actions
) -> None:
    """Serve what people do to the books."""
    bus.answer(ListDeadLettersV1, letters.list)
    bus.answer(ReplayDeadLetterV1, letters.replay)
    bus.answer(DismissDeadLetterV1, letters.dismiss)
    bus.answer(QueryUnknownV1, reconciliation.unknown)
    bus.answer(ReconcileAttemptV1, reconciliation.reconcile)
    bus.answer(GetRetentionV1, retention.get)
    bus.answer(SetRetentionV1, retention.set)
    bus.answer(QueryLedgerActionsV1, actions.query)


def subscribe_credits(bus: Bus, credits_: Credits) -> None:
    """Serve whether workspaces use the platform's credits."""
    bus.answer(GetCreditsV1, credits_.get)
    bus.answer(SetCreditsV1, credits_.set)


def subscribe_exports(bus: Bus, exports: Exports) -> None:
    """Serve the call log in bulk."""
    bus.answer(ReadCallsV1, exports.read)


def subscribe_contents(bus: Bus, contents: Contents) -> None:
    """Serve what calls were about, where that is stored."""
    bus.answer(GetContentPolicyV1, contents.policy)
    bus.answer(SetContentPolicyV1, contents.set_policy)
    bus.answer_call(StoreContentV1, contents.store)
    bus.answer(GetContentV1, contents.get)
