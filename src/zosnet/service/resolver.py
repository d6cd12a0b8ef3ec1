"""From a peer's endpoint to the addresses to dial."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from itertools import chain, zip_longest

from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import PeerError
from zosnet.service.peer import Address

__all__ = ["interleaved", "literal", "resolve"]

# Longer than two tries of a common resolver (5 s each) are not worth waiting for: the next attempt asks
# again.
TIMEOUT = 10.0


def literal(endpoint: Endpoint) -> Address | None:
    """The address of an endpoint that names no host but an address."""
    try:
        ip_address(endpoint.host)
    except ValueError:
        return None
    return Address(endpoint.host, endpoint.port, endpoint.scope or 0)


async def resolve(endpoint: Endpoint) -> tuple[Address, ...]:
    """All addresses of `endpoint`, best first. Raises PeerError when its name can't be resolved."""
    address = literal(endpoint)
    if address is not None:
        return (address,)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise PeerError(f"the name {endpoint.host} was not resolved within {TIMEOUT:g} s") from None
    except OSError as error:
        raise PeerError(f"the name {endpoint.host} can't be resolved: {error.strerror or error}") from None
    # getaddrinfo gives (address, port) or (address, port, flow, scope).
    return interleaved(tuple(Address(item[4][0], endpoint.port) for item in found))  # type: ignore[arg-type]


def interleaved(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Without doubles, IPv6 and IPv4 in turn, IPv6 first (RFC 8305, section 4)."""
    unique = dict.fromkeys(addresses)
    six = [address for address in unique if ":" in address.ip]
    four = [address for address in unique if ":" not in address.ip]
    return tuple(address for address in chain.from_iterable(zip_longest(six, four)) if address is not None)
