"""The official SDK of Replicate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from replicate.client import Client

from tests.providers.referees.logical import PREDICTION, VERSION, Calls
from tests.providers.specs.calls import MODELS

_ASK = "How high is the tide?"
_TURNS = "[INST] How high is the tide? [/INST] Where?\n[INST] In Dover. [/INST]"
_LIMIT = {"max_tokens": 64, "max_new_tokens": 64}


@contextmanager
def by_replicate(base_url: str, key: str) -> Iterator[Calls]:
    """replicate: a conversation is an input, whose words are the models' own."""
    client = Client(api_token=key, base_url=base_url)

    def made(prompt: str = _ASK, **more: Any) -> Callable[[], Any]:
        words = {"prompt": prompt, **_LIMIT, **more}
        return lambda: client.models.predictions.create(MODELS["replicate"], words, wait=5)

    plain = {"prompt": _ASK, **_LIMIT}
    yield {
        "plain": made(),
        "system": made(system_prompt="Be brief.", temperature=0.2),
        "turns": made(_TURNS, top_p=0.9),
        "sampling": made(temperature=0.7, seed=7),
        "stop": made(stop_sequences="END"),
        "stream": lambda: client.models.predictions.create(MODELS["replicate"], plain, stream=True),
        "version": lambda: client.predictions.create(version=VERSION, input=plain, wait=5),
        "poll": lambda: client.predictions.get(PREDICTION),
        "cancel": lambda: client.predictions.cancel(PREDICTION),
    }
    client._client.close()
