"""Which message goes to which method."""

from services.metering.service import MeteringService
from shared.bus import Bus
from shared.messages.health import PingMeteringV1
from shared.messages.metering import BlockKeyV1, ListBudgetsV1, ReserveV1, SetKeyBudgetV1
from shared.messages.usage import QueryCallsV1, QueryUsageV1


def subscribe(bus: Bus, metering: MeteringService) -> None:
    """Serve every request of metering; finished calls come through the stream's consumer."""
    bus.answer_call(ReserveV1, metering.reserve)
    bus.answer(SetKeyBudgetV1, metering.set_key_budget)
    bus.answer(BlockKeyV1, metering.block_key)
    bus.answer(ListBudgetsV1, metering.list_budgets)
    bus.answer(QueryUsageV1, metering.query_usage)
    bus.answer(QueryCallsV1, metering.query_calls)
    bus.answer(PingMeteringV1, metering.ping)
