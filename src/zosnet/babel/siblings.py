"""Several links to one place share a path: what one of them finds out about it holds for the others, too.

A stream hides its losses: it retransmits, and all that is behind waits. Taken at its word it would look
better than the datagram link beside it, and draw the traffic to where the same losses hurt most.

A link that falls silent is rarely alone. Two nodes that dial each other have two links, of which one carries
the traffic and the other is quiet, so nobody would know of its silence before traffic was moved to it.
"""

from collections.abc import Iterable

from zosnet.babel.neighbour import Neighbour

DATAGRAMS = "udp"
"""The kind of a link that loses a packet rather than make all others wait for it."""


def share_path(one: Neighbour, other: Neighbour) -> bool:
    """Whether both lead to one node at one place. A link shares its path with itself once both are known."""
    return one.node is not None and one.node == other.node and one.place == other.place != ""


def share_loss(neighbours: Iterable[Neighbour], changed: Neighbour) -> list[Neighbour]:
    """Tell the streams beside `changed` what is lost on their path; those of another cost because of it.

    A silent datagram link tells nothing: perhaps it is only datagrams that don't get through.
    """
    beside = [each for each in neighbours if share_path(each, changed)]
    lost = [each.link.shared for each in beside if each.kind == DATAGRAMS and not each.is_stalled]
    return [each for each in beside if each.kind != DATAGRAMS and each.hide(max(lost, default=0))]


def share_silence(neighbours: Iterable[Neighbour], silent: Neighbour) -> list[Neighbour]:
    """Doubt those beside `silent`, which stalled. Those that were in no doubt before, and must be asked.

    Silence on a link that nobody uses says little: one lost Hello is enough for it.
    """
    if not silent.is_busy:
        return []
    return [each for each in neighbours if share_path(each, silent) and each.doubt()]
