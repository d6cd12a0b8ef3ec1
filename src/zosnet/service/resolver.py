"""From a peer's endpoint to the addresses to dial."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain, zip_longest

from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import PeerError
from zosnet.service.peer import Address

__all__ = ["interleaved", "literal", "resolve"]

# Longer than two tries of a common resolver (5 s each) are not worth waiting for: the next attempt asks
# again.
TIMEOUT = 10.0
# Lookups under way at once, those included that nobody waits for any more: a guess.
_at_once = threading.BoundedSemaphore(32)


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
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await _look_up(endpoint.host)
    except TimeoutError:
        raise PeerError(f"the name {endpoint.host} was not resolved within {TIMEOUT:g} s") from None
    except OSError as error:
        raise PeerError(f"the name {endpoint.host} can't be resolved: {error.strerror or error}") from None
    return interleaved(tuple(Address(ip, endpoint.port) for ip in found))


async def _look_up(host: str) -> list[str]:
    """Ask the system's resolver in a thread that nobody waits for at the end.

    The loop's own executor would: a silent name server could hold up the node's stop for half a minute.
    """
    places = _at_once
    if not places.acquire(blocking=False):
        raise OSError("too many names are being resolved")
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def tell(found: list[str] | OSError) -> None:
        if future.done():
            return
        if isinstance(found, OSError):
            future.set_exception(found)
        else:
            future.set_result(found)

    def ask() -> None:
        found: list[str] | OSError
        try:
            # Each item ends with (address, port) or (address, port, flow, scope).
            found = [str(item[4][0]) for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except OSError as error:
            found = error
        except UnicodeError:
            found = OSError("it is no host name")
        finally:
            places.release()
        # The loop may be gone by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await future


def interleaved(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Without doubles, IPv6 and IPv4 in turn, IPv6 first (RFC 8305, section 4)."""
    unique = dict.fromkeys(addresses)
    six = [address for address in unique if ":" in address.ip]
    four = [address for address in unique if ":" not in address.ip]
    return tuple(address for address in chain.from_iterable(zip_longest(six, four)) if address is not None)
