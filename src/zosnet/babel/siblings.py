"""Several links to one place: what a datagram link finds out about the path holds for a stream on it, too.

A stream hides its losses: it retransmits, and all that is behind waits. Taken at its word it would look
better than the datagram link beside it, and draw the traffic to where the same losses hurt most.
"""

from collections.abc import Iterable

from zosnet.babel.neighbour import Neighbour

DATAGRAMS = "udp"
"""The kind of a link that loses a packet rather than make all others wait for it."""


def share_loss(neighbours: Iterable[Neighbour], changed: Neighbour) -> list[Neighbour]:
    """Tell the streams beside `changed` what is lost on their path; those of another cost because of it.

    A silent datagram link tells nothing: perhaps it is only datagrams that don't get through.
    """
    if changed.node is None or not changed.place:
        return []
    beside = [each for each in neighbours if each.node == changed.node and each.place == changed.place]
    lost = [each.link.shared for each in beside if each.kind == DATAGRAMS and not each.is_stalled]
    return [each for each in beside if each.kind != DATAGRAMS and each.hide(max(lost, default=0))]
