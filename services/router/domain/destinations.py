"""Where a provider's addresses lead: below its base URL, or to where it has sent us itself."""

from collections.abc import Set as AbstractSet

from shared.destinations import check_address, is_listed, parse_base_url, refused


def check_elsewhere(url: str, base_url: str, allowed: AbstractSet[str]) -> str:
    """Accept an address that the provider at ``base_url`` has named itself; gives it in canonical form.

    It is held to the rules for base URLs. What is spoken to in clear, or listed as private, it may name only when
    the provider itself is: an answer from the internet must not lead into our network.

    Raises:
        OmniError: ``invalid_request`` with the reason.
    """
    accepted = check_address(url, allowed)
    base, there = parse_base_url(base_url), parse_base_url("/".join(accepted.split("/", 3)[:3]))
    if base.scheme == "https" != there.scheme:
        raise refused("it must use https")
    if is_listed(there.host, there.port, allowed) and not is_listed(base.host, base.port, allowed):
        raise refused("it points at a private name")
    return accepted


def host_of(base_url: str) -> str:
    """What keys are bound to at a base URL that was accepted before (``Destination.bound``).

    Raises:
        OmniError: ``invalid_request`` when it is no base URL.
    """
    return parse_base_url(base_url).bound


def joined(base_url: str, path: str) -> str:
    """``path`` below a canonical base URL.

    Some providers' base URLs are written with the version and some without: a version that the base already ends with
    is not repeated.
    """
    version = "/" + path.split("/", 2)[1]
    return base_url.removesuffix(version) + path if path.startswith(f"{version}/") else base_url + path
