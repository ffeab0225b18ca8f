"""Words used by more than one message."""

from enum import StrEnum

START_WITHIN_S = 4.0
"""The last moment a router begins to send a request: seconds (monotonic) after it asked for the reservation.

The vault's DELETE waits at most this long for calls already admitted, so that even a router that hears nothing starts
none after DELETE has answered.
"""


PLATFORM_WORKSPACE = 0
"""Whose the platform's own keys are, and its own entries in audits. No workspace of anybody's has this id."""


class Modality(StrEnum):
    """What a key's scopes allow."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


class Capability(StrEnum):
    """What an alias does."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    IMAGE_GENERATION = "image_generation"
    IMAGE_EDITING = "image_editing"
    IMAGE_VARIATION = "image_variation"
    SPEECH_TO_TEXT = "speech_to_text"
    TEXT_TO_SPEECH = "text_to_speech"
    VIDEO_GENERATION = "video_generation"
    VIDEO_EDITING = "video_editing"
    VIDEO_CAPTIONING = "video_captioning"

    @property
    def modality(self) -> Modality:
        """The scope a key needs for this capability."""
        return _MODALITY[self]


_MODALITY = {
    Capability.CHAT: Modality.TEXT,
    Capability.COMPLETION: Modality.TEXT,
    Capability.EMBEDDING: Modality.TEXT,
    Capability.IMAGE_GENERATION: Modality.IMAGE,
    Capability.IMAGE_EDITING: Modality.IMAGE,
    Capability.IMAGE_VARIATION: Modality.IMAGE,
    Capability.SPEECH_TO_TEXT: Modality.AUDIO,
    Capability.TEXT_TO_SPEECH: Modality.AUDIO,
    Capability.VIDEO_GENERATION: Modality.VIDEO,
    Capability.VIDEO_EDITING: Modality.VIDEO,
    Capability.VIDEO_CAPTIONING: Modality.VIDEO,
}


class KeyStatus(StrEnum):
    """Whether a stored key may be used."""

    ACTIVE = "active"
    INVALID = "invalid"
    UNVERIFIED = "unverified"
    REVOKED = "revoked"


class Outcome(StrEnum):
    """How one attempt at one target ended, or why the target was not called at all."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    CONNECTION_ERROR = "connection_error"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    PROVIDER_ERROR = "provider_error"
    BAD_RESPONSE = "bad_response"
    INVALID_KEY = "invalid_key"
    INVALID_REQUEST = "invalid_request"
    CONTENT_POLICY = "content_policy"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    UNKNOWN = "unknown"
    KEY_REVOKED = "key_revoked"
    CANCELLED = "cancelled"
    # Not called:
    MISSING_KEY = "missing_key"
    UNSUPPORTED_SCOPE = "unsupported_scope"
    UNSUPPORTED_OPTION = "unsupported_option"
    BUDGET_EXCEEDED = "budget_exceeded"
    UNAVAILABLE = "unavailable"


class Funds(StrEnum):
    """Whose money a call is paid with: the workspace's own key at the provider, or credits on the platform's keys."""

    OWN = "own"
    PLATFORM = "platform"

    def keyholder(self, workspace_id: int) -> int:
        """Whose keys pay for a call of this workspace: its own, or those of ``PLATFORM_WORKSPACE``."""
        return workspace_id if self is Funds.OWN else PLATFORM_WORKSPACE


class Billing(StrEnum):
    """What the ledger does with a finished attempt's reservation.

    ``COST``: spend what it cost. ``NOTHING``: release it, the provider charged nothing.
    ``UNKNOWN``: the outcome cannot be known; charge the reserved maximum and flag the row.
    """

    COST = "cost"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


class Feature(StrEnum):
    """What a chat model can do besides text in, text out."""

    TOOLS = "tools"
    VISION = "vision"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    REASONING = "reasoning"
    PREFILL = "prefill"
