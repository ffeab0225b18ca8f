"""``python -m deploy.local.verify_audit [WORKSPACE]``: recompute the audit's hash chains (``make verify-audit``)."""

import sys

from deploy.local import settings as environment
from deploy.local.edge import Edge, EdgeRefused
from deploy.local.home import Home
from deploy.local.settings import CannotStart


def main(arguments: list[str]) -> int:
    """0 when every chain is intact, 1 when one is broken, 2 when it cannot be found out."""
    if len(arguments) > 1 or not all(argument.isdigit() for argument in arguments):
        print("usage: make verify-audit [WORKSPACE=<id>]    (0: the platform's own chain)", file=sys.stderr)
        return 2
    try:
        settings = environment.read()
        edge = Edge(settings.port, Home(settings.home).admin_token.read_text().strip())
        query = f"?workspace_id={arguments[0]}" if arguments else ""
        found = edge.call("GET", f"/ai-audit/verification{query}")
    except (CannotStart, EdgeRefused, OSError) as trouble:
        print(f"the audit cannot be verified: {trouble}; is the stack running (make run)?", file=sys.stderr)
        return 2
    for broken in found["broken"]:
        print(f"workspace {broken['workspace_id']}: {broken['fault']} at entry {broken['broken_at']}")
    verdict = "intact" if found["intact"] else "BROKEN"
    print(f"audit: {verdict}, {found['entries']} entries in {found['chains']} chains")
    if found["head"]:
        print(f"head: {found['head']}")
    return 0 if found["intact"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
