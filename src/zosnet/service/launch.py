"""From settings to a node on this machine: the key, the topics, the data plane, put together in this order.

Each step that this machine may refuse says so in one line with a remedy.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from zosnet.dataplane.protocol import Dataplane
from zosnet.message import Courier, Limits, TopicPolicy
from zosnet.model.errors import HostError
from zosnet.model.keys import SecretKey
from zosnet.model.router_id import RouterId
from zosnet.service.host_facts import taken_ports
from zosnet.service.messages import Messages
from zosnet.service.node import Node, new_router_id
from zosnet.store.key_file import load_or_create_key
from zosnet.store.pins import load_pins
from zosnet.store.settings import Settings
from zosnet.store.topics import load_topics

__all__ = ["assemble", "explain", "launcher"]

_EVENTS_LIMIT = 65536


def launcher(settings: Settings, read_settings: Callable[[], Settings]) -> Callable[[], Node]:
    """What makes the node of this machine. It raises HostError for all that the machine refuses."""

    def make() -> Node:
        from zosnet.dataplane.core import CoreDataplane

        secret = load_or_create_key(settings.key_path, os.urandom(32))
        topics = load_topics(settings.topic_config) if settings.topic_config else TopicPolicy()
        pins = load_pins(settings.pins_path)
        ours = not settings.no_session_suite
        router_id = new_router_id(secret.public(), session_suite=ours)
        try:
            dataplane = CoreDataplane.open(
                secret=secret,
                router_id=router_id,
                tun_name=None if settings.no_tun else settings.tun_name,
                tun_mtu=settings.mtu,
                tcp_port=settings.tcp_listen_port,
                quic_port=None if settings.disable_quic else settings.quic_listen_port,
                udp_port=None if settings.disable_udp else settings.udp_listen_port,
                session_suite=ours,
                repair=not settings.no_repair,
                # Who speaks only Mycelium's suite can hold nobody to another.
                pins=list(pins) if ours else [],
                max_link_mtu=settings.max_link_mtu,
                lanes=settings.lane_count,
                firewall_mark=settings.firewall_mark,
                events_limit=_EVENTS_LIMIT,
            )
        except OSError as error:
            raise explain(error, settings) from error
        return assemble(
            settings, secret, router_id, dataplane, topics=topics, pins=pins, read_settings=read_settings
        )

    return make


def assemble(
    settings: Settings,
    secret: SecretKey,
    router_id: RouterId,
    dataplane: Dataplane,
    *,
    topics: TopicPolicy | None = None,
    pins: dict[bytes, int] | None = None,
    read_settings: Callable[[], Settings] | None = None,
) -> Node:
    """A node over a data plane that is open already."""
    courier = Courier(
        limits=Limits.for_messages_of(settings.message_limit),
        # Message ids are drawn from it, and strangers must not guess those.
        rng=random.SystemRandom(),
        topics=topics or TopicPolicy(),
    )
    messages = Messages(courier, secret.public(), answer_limit=settings.message_limit)
    return Node(
        settings, secret, router_id, dataplane, messages=messages, pins=pins, read_settings=read_settings
    )


def _shares_a_port(settings: Settings) -> bool:
    both = not settings.disable_quic and not settings.disable_udp
    return both and settings.udp_listen_port != 0 and settings.udp_listen_port == settings.quic_listen_port


def explain(error: OSError, settings: Settings) -> HostError:
    """What the data plane's refusal to start means to an operator."""
    text = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE if _shares_a_port(settings):
            return HostError(
                f"QUIC and udp:// can't both have the UDP port {settings.udp_listen_port}",
                remedy="choose another with --udp-listen-port",
            )
        case errno.EADDRINUSE:
            ports = ", ".join(f"{port} ({name[:4].rstrip('_')})" for name, port in taken_ports(settings))
            return HostError(
                f"port {ports or 'to listen on'} is taken by another program",
                remedy="choose others with --tcp-, --quic- and --udp-listen-port, or stop that program",
            )
        case errno.EADDRNOTAVAIL:
            return HostError(
                f"an address to listen on is not of this machine: {text}", remedy="check the settings"
            )
        case errno.EPERM | errno.EACCES if not settings.no_tun:
            return HostError(
                f"there is no permission to make the network device {settings.tun_name}",
                remedy="use sudo, or run with --no-tun",
            )
        case errno.EPERM | errno.EACCES:
            return HostError(
                f"this machine gives no permission: {text}", remedy="use ports above 1023, or sudo"
            )
        case errno.ENOENT | errno.ENODEV | errno.ENXIO if not Path("/dev/net/tun").exists():
            return HostError("this machine has no TUN device", remedy="modprobe tun, or run with --no-tun")
        case errno.EBUSY | errno.EEXIST:
            return HostError(
                f"the network device {settings.tun_name} is in use",
                remedy="choose another name with --tun-name",
            )
        case _:
            return HostError(
                f"the data plane could not start: {text}", remedy="`zosnet doctor` may know more"
            )
