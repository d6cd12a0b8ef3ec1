"""What is wrong, and what to do about it: facts in, findings out. Nothing here looks at the world by itself.

A finding has a constant code, so that programs can tell it, and a remedy that can be followed as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zosnet.service.host_facts import HostFacts, gather
from zosnet.service.views import Finding, Findings, PeerView
from zosnet.store.settings import Settings, load

__all__ = ["about_host", "about_node", "examine_host"]

# 2024-01-01: a clock before the year of the first release has never been set.
_EARLIEST = 1_704_067_200
# Descriptors: one for each link, and some for the rest.
_FEW_DESCRIPTORS = 1024
_LITTLE_SPACE = 16 * 1024 * 1024
# Reference, section 2.4: a larger overlay packet kills a stock QUIC link on the way.
_SAFE_MTU = 1360
# A guess: half of what makes TCP crawl at any distance.
_MUCH_LOSS = 0.05


def examine_host(config: str | None) -> Findings:
    """The findings that need no node, and the one that says so. Raises as `load` does."""
    settings = load({"config": config} if config else {})
    here = about_host(gather(settings, running=False), settings)
    idle = Finding(
        "node.not_running", "info", f"no node is running at {settings.socket}", "start one: zosnet up"
    )
    return Findings([*here, idle])


def about_host(facts: HostFacts, settings: Settings) -> list[Finding]:
    """What this machine lacks for a node with these settings."""
    found: list[Finding] = []
    if not settings.no_tun:
        found += _about_device(facts, settings)
    if not facts.ipv6:
        found.append(
            Finding(
                "host.no_ipv6",
                "error",
                "IPv6 is off on this machine",
                "sysctl net.ipv6.conf.all.disable_ipv6=0",
            )
        )
    for name, port in facts.taken:
        text = f"port {port} is taken by another program"
        flag = name.replace("_", "-")
        found.append(Finding("port.taken", "error", text, f"stop that program, or choose another: --{flag}"))
    if facts.key_trouble is not None:
        found.append(Finding("key.unusable", "error", *facts.key_trouble))
    if facts.pin_trouble is not None:
        found.append(Finding("pins.unusable", "error", *facts.pin_trouble))
    if not facts.state_writable:
        text = f"the state directory {settings.state_dir} can't be written"
        found.append(Finding("state.not_writable", "error", text, "use sudo, or choose another: --state-dir"))
    if facts.state_free is not None and facts.state_free < _LITTLE_SPACE:
        text = f"the disk of {settings.state_dir} is nearly full"
        found.append(Finding("state.disk_full", "error", text, "make room on it"))
    if facts.descriptors < _FEW_DESCRIPTORS:
        text = f"only {facts.descriptors} open files are allowed"
        found.append(Finding("host.few_descriptors", "warning", text, "raise it: ulimit -n 65536"))
    if facts.unix_time < _EARLIEST:
        text = "the clock is wrong: it says a year long past"
        found.append(
            Finding("host.clock", "error", text, "set it, for example with timedatectl set-ntp true")
        )
    return found


def _about_device(facts: HostFacts, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    if not facts.tun_device:
        text = "/dev/net/tun is missing or may not be opened"
        found.append(
            Finding("tun.no_device", "error", text, "modprobe tun and use sudo, or run with --no-tun")
        )
    if not facts.net_admin:
        text = "there is no permission to make a network device (CAP_NET_ADMIN)"
        found.append(Finding("tun.no_permission", "error", text, "use sudo, or run with --no-tun"))
    others = [device for device in facts.overlay_devices if device != settings.tun_name]
    if others:
        text = f"400::/7 is routed to {', '.join(others)} too: another overlay runs here"
        found.append(
            Finding("tun.other_overlay", "warning", text, "stop the other one, or run with --no-tun")
        )
    if settings.mtu > _SAFE_MTU:
        text = f"an MTU of {settings.mtu} breaks QUIC links of stock nodes on the way"
        found.append(Finding("tun.mtu", "warning", text, f"use --mtu {_SAFE_MTU} unless you know every link"))
    return found


def about_node(
    peers: Iterable[PeerView],
    counters: Mapping[str, int],
    settings: Settings,
    trouble: Iterable[Finding] = (),
) -> list[Finding]:
    """What a running node suffers from. `trouble` is what it met on its way, such as a reload that failed."""
    found = list(trouble)
    listed = list(peers)
    alive = [peer for peer in listed if peer.state == "alive"]
    if not listed and settings.disable_peer_discovery:
        text = "there are no peers, and discovery is off"
        found.append(Finding("peers.none", "warning", text, "zosnet peers add tcp://host:9651"))
    elif not alive and any(peer.failures for peer in listed):
        text = "no peer is linked: this node reaches nobody"
        found.append(
            Finding("peers.all_dead", "error", text, "see below why, and check this machine's own network")
        )
    found += [finding for peer in listed if (finding := _about_peer(peer)) is not None]
    impostors = counters.get("control.impostor", 0)
    if impostors:
        text = f"{impostors} links were closed: the nodes there called themselves others than they are"
        found.append(
            Finding("peers.impostor", "warning", text, "trust a link there only with the key in its URL")
        )
    refused = counters.get("control.malformed", 0)
    if refused:
        text = f"{refused} links were closed for malformed control packets"
        found.append(Finding("peers.malformed", "info", text, "a peer speaks another protocol on that port"))
    return found


def _about_peer(peer: PeerView) -> Finding | None:
    if peer.state == "alive":
        if peer.stalled:
            text = f"{peer.endpoint} takes no data: its link is silent"
            return Finding("peer.stalled", "warning", text, "traffic takes another way if there is one")
        if peer.loss is not None and peer.loss >= _MUCH_LOSS:
            text = f"{peer.endpoint} loses {100 * peer.loss:.0f} % of all datagrams"
            return Finding(
                "peer.lossy", "warning", text, "name another link to it, by tcp:// or another line"
            )
        return None
    if not peer.last_error:
        return None
    text = f"{peer.endpoint} can't be reached: {peer.last_error}"
    return Finding("peer.dead", "warning", text, _peer_remedy(peer))


def _peer_remedy(peer: PeerView) -> str:
    if "itself" in peer.last_error:
        return f"zosnet peers remove {peer.endpoint}, and take it out of the settings"
    if "refused" in peer.last_error.lower():
        return "check that a node runs there and listens on that port"
    if "name" in peer.last_error:
        return "check the name and this machine's DNS"
    return "check the address, the port, and firewalls on the way"
