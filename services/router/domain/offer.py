"""What a provider can be asked for today, and in which of its ways."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.messages.catalogue import ModelV1
from shared.messages.vocabulary import Capability


@dataclass(frozen=True)
class Way:
    """One way to ask a provider. ``options``: ours that it expresses; ``passes``: its own fields that are sent on."""

    options: frozenset[str]
    passes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Offer:
    """A provider as planning sees it.

    Attributes:
        ways: how it can be asked, by what its adapter does; empty without an adapter.
        region: where it says it works; None when it does not say.
        planned: what it is going to do when its adapter is written.
        models: those the catalogue knows, by id. Others may exist: providers bring out models faster than we learn.
    """

    provider: str
    host: str
    ways: Mapping[Capability, Way]
    aggregator: bool = False
    region: str | None = None
    planned: frozenset[Capability] = frozenset()
    models: Mapping[str, ModelV1] = field(default_factory=dict)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it does today. A prompt is completed by whoever chats."""
        mapped = {Capability.COMPLETION} if Capability.CHAT in self.ways else set()
        return frozenset({*self.ways, *mapped})

    def way_of(self, capability: Capability, model_id: str) -> Capability | None:
        """How ``model_id`` is asked for ``capability``, None when it cannot be.

        A completion goes to the provider's own endpoint for models that say they complete, to chat for all others.
        A model that the catalogue does not know is believed to do what its provider does.
        """
        model = self.models.get(model_id)
        if capability is Capability.COMPLETION:
            if model is not None and capability in model.capabilities and capability in self.ways:
                return capability
            capability = Capability.CHAT
        if capability not in self.ways or not (model is None or capability in model.capabilities):
            return None
        return capability

    def knows_otherwise(self, capability: Capability, model_id: str) -> bool:
        """Whether the catalogue knows the model, and that it does something else."""
        model = self.models.get(model_id)
        return model is not None and not does(model, capability)


def does(model: ModelV1, capability: Capability) -> bool:
    """Whether ``model`` does ``capability``; one that chats completes as well."""
    mapped = capability is Capability.COMPLETION and Capability.CHAT in model.capabilities
    return mapped or capability in model.capabilities
