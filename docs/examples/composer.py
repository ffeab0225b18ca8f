"""A whole OmniPost service that has posts written: ``python docs/examples/composer.py <seed file> <NATS URL>``.

Give it credentials first: ``make guest NAME=composer WORKSPACES=1000``.
"""

import asyncio
import sys
from pathlib import Path

from shared.errors import OmniError
from shared.invoking import Invoking, connected, new_call_id
from shared.messages.chat import ChatMessageV1
from shared.messages.router import InvokedV1, InvokeV1

WORKSPACE = 1000


def question(text: str, *, stream: bool) -> InvokeV1:
    """One message for an alias of the workspace."""
    message = ChatMessageV1(role="user", content=text)
    alias = "sandbox-failover"
    return InvokeV1(workspace_id=WORKSPACE, call_id=new_call_id(), alias_name=alias, messages=(message,), stream=stream)


async def write(omnipost: Invoking, text: str) -> InvokedV1:
    """The whole answer at once."""
    return await omnipost.invoke(question(text, stream=False))


async def watch(omnipost: Invoking, text: str) -> InvokedV1:
    """The answer as it comes. Leaving the block ends the call at the provider, too."""
    async with omnipost.invoke_in_parts(question(text, stream=True)) as pieces:
        async for piece in pieces:
            print(piece.text, end="", flush=True)
        print()
        return pieces.final


async def main(seed: Path, url: str) -> int:
    """The exit code."""
    try:
        async with connected(url, "composer", seed) as omnipost:
            answer = await write(omnipost, "A post about rain")
            print(answer.text)
            print(f"{answer.provider}/{answer.model}, {answer.cost_usd_micros} micro-dollars, call {answer.call_id}")
            answer = await watch(omnipost, "A post about sun")
            print(f"{answer.finish_reason}, {answer.tokens.output_tokens} tokens")
    except OmniError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2])))
