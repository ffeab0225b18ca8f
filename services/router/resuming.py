"""Asking a model to go on with an answer that another one began."""

from dataclasses import replace

from services.router.providers.base import ChatRequest, Dialect
from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1
from shared.messages.vocabulary import Capability, Feature

INSTRUCTION = (
    "Your answer above was cut off. Go on with it exactly where it stops, in the middle of the word if need be. "
    "Write only what is missing: repeat nothing, and do not mention the interruption."
)
_CHARACTERS_PER_TOKEN = 4
_FEWEST_TOKENS = 16


def resumed(question: ChatRequest, begun: str, model: ModelV1, dialect: Dialect, *, prefill: bool) -> ChatRequest:
    """``question`` put so that the answer goes on after ``begun``.

    By prefill where dialect and model take it, else by instruction. The limit of tokens shrinks by what ``begun`` has
    used, as far as its length tells; it never grows.
    Blanks alone are no beginning: ``question`` as it is.
    """
    if not begun.strip():
        return question  # providers refuse a message of blanks alone, and nothing is lost by beginning anew
    limit = question.options.max_tokens or 0
    left = max(min(_FEWEST_TOKENS, limit), limit - len(begun) // _CHARACTERS_PER_TOKEN)
    options = question.options.model_copy(update={"max_tokens": left})
    answer = ChatMessageV1(role="assistant", content=begun)
    # What only completes prompts does nothing but go on.
    chats = Capability.CHAT in model.capabilities
    refuses = chats and model.features is not None and Feature.PREFILL not in model.features
    if prefill and dialect.prefill and not refuses:
        return replace(question, messages=(*question.messages, answer), options=options, continues=True)
    please = ChatMessageV1(role="user", content=INSTRUCTION)
    return replace(question, messages=(*question.messages, answer, please), options=options)
