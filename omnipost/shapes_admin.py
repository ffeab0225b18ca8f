"""The shapes of answers about tokens, workspaces, webhooks, providers and custody; see ``shapes``."""

from typing import NotRequired, TypedDict


class Token(TypedDict):
    """An access token; the token itself is shown once, when it is made. ``workspace_id`` None: the platform's."""

    id: str
    workspace_id: int | None
    role: str
    name: str
    masked: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewToken(Token):
    """A token that has just been made: this is the only time that ``token`` is shown."""

    token: str


class NewWorkspace(TypedDict):
    """A workspace that has just been made."""

    id: int
    name: str


class Workspace(NewWorkspace):
    """A workspace."""

    created_at: str


class Retention(TypedDict):
    """How long the call log is kept (None: for ever), and whether and how long contents are."""

    workspace_id: int
    call_log_days: int | None
    store_content: bool
    content_days: int
    zero_retention: bool


class Rotated(TypedDict):
    """A workspace has a new data key; ``keys``: how many API keys were encrypted anew with it."""

    workspace_id: int
    keys: int


class Webhook(TypedDict):
    """Where events are sent. ``secret`` is there only when it has just been made."""

    id: str
    workspace_id: int
    url: str
    events: list[str]
    enabled: bool
    disabled_at: str | None
    disabled_why: str | None
    failing_since: str | None
    old_secret_until: str | None
    created_at: str
    updated_at: str
    secret: NotRequired[str]


class Delivery(TypedDict):
    """An event on its way to a webhook, or there. ``status``: pending, delivered or failed."""

    id: str
    seq: int
    event_id: str
    type: str
    status: str
    attempts: int
    last_code: int | None
    last_trouble: str | None
    next_at: str | None
    created_at: str
    delivered_at: str | None


class Model(TypedDict):
    """A model of a provider. Prices are USD per million tokens; None: unknown."""

    id: str
    capabilities: list[str]
    features: list[str] | None
    context_window: int | None
    max_output_tokens: int | None
    default_max_tokens: int | None
    max_image_tokens: int | None
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None
    cache_read_usd_per_mtok: str | None
    cache_write_usd_per_mtok: str | None
    price_version: str | None


class Provider(TypedDict):
    """A provider of the catalogue. ``status`` planned: it cannot be called yet."""

    id: str
    name: str
    kind: str
    status: str
    base_url: str
    region: str | None
    host: str
    capabilities: list[str]
    aggregator: bool
    simulated: bool
    models: list[Model]
    updated_at: str


class Health(TypedDict):
    """Whether a call can be served end to end; ``checks``: ``ok``, or what is missing, by part."""

    status: str
    checks: dict[str, str]
