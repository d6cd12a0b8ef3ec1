"""The doctor: facts in, findings out."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from zosnet.service.doctor import about_host, about_node, examine_host
from zosnet.service.host_facts import HostFacts, gather
from zosnet.service.views import Finding, PeerView
from zosnet.store.settings import Settings

WELL = HostFacts(
    tun_device=True,
    net_admin=True,
    ipv6=True,
    overlay_devices=("zosnet",),
    taken=(),
    descriptors=65536,
    unix_time=1_800_000_000.0,
    key_trouble=None,
    state_free=10**9,
    state_writable=True,
)
PEER = PeerView("tcp://192.0.2.1:9651", "static", "alive", 1.0, 1.0, 0, "", None)


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


def test_a_machine_that_has_everything_gets_no_finding() -> None:
    assert about_host(WELL, Settings()) == []


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(WELL, tun_device=False), "tun.no_device"),
        (replace(WELL, net_admin=False), "tun.no_permission"),
        (replace(WELL, overlay_devices=("mycelium", "zosnet")), "tun.other_overlay"),
        (replace(WELL, ipv6=False), "host.no_ipv6"),
        (replace(WELL, taken=(("tcp_listen_port", 9651),)), "port.taken"),
        (replace(WELL, descriptors=256), "host.few_descriptors"),
        (replace(WELL, unix_time=0.0), "host.clock"),
        (replace(WELL, key_trouble=("open to others", "chmod 600")), "key.unusable"),
        (replace(WELL, pin_trouble=("it is not JSON", "restore it")), "pins.unusable"),
        (replace(WELL, state_writable=False), "state.not_writable"),
        (replace(WELL, state_free=1000), "state.disk_full"),
    ],
)
def test_what_is_missing_is_found_with_a_remedy(facts: HostFacts, code: str) -> None:
    (finding,) = about_host(facts, Settings())
    assert finding.code == code and finding.text and finding.remedy


def test_without_a_device_its_troubles_do_not_matter() -> None:
    facts = replace(WELL, tun_device=False, net_admin=False, overlay_devices=("mycelium",))
    assert about_host(facts, Settings(no_tun=True)) == []


def test_a_large_mtu_is_warned_of() -> None:
    assert codes(about_host(WELL, Settings(mtu=1400))) == {"tun.mtu"}


def test_a_node_without_peers_is_told_so_unless_it_looks_for_them() -> None:
    assert codes(about_node([], {}, Settings(disable_peer_discovery=True))) == {"peers.none"}
    assert about_node([], {}, Settings()) == []


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("this address is the node itself", "peers remove"),
        ("Connection refused", "a node runs there"),
        ("the name x can't be resolved", "DNS"),
        ("timed out", "firewalls"),
    ],
)
def test_a_dead_peer_comes_with_its_reason_and_remedy(reason: str, remedy: str) -> None:
    dead = replace(PEER, state="dead", last_error=reason, failures=1)
    found = about_node([dead], {}, Settings())
    assert codes(found) == {"peers.all_dead", "peer.dead"}
    assert remedy in found[1].remedy


def test_silent_links_malformed_packets_and_earlier_trouble_show() -> None:
    trouble = [Finding("reload.failed", "error", "x", "y")]
    found = about_node([replace(PEER, stalled=True)], {"control.malformed": 2}, Settings(), trouble)
    assert codes(found) == {"reload.failed", "peer.stalled", "peers.malformed"}


def test_a_lossy_link_and_impostors_show() -> None:
    assert about_node([replace(PEER, loss=0.02)], {}, Settings()) == []
    (lossy,) = about_node([replace(PEER, loss=0.2)], {}, Settings())
    assert lossy.code == "peer.lossy" and "20 %" in lossy.text
    assert codes(about_node([PEER], {"control.impostor": 1}, Settings())) == {"peers.impostor"}


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "priv_key.bin").write_bytes(b"short")
    (tmp_path / "priv_key.bin").chmod(0o600)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pins.json").write_text("{}")
    (tmp_path / "sub" / "pins.json").chmod(0o600)
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(
            state_dir=tmp_path / "sub", key_file=tmp_path / "priv_key.bin", tcp_listen_port=port
        )
        facts = gather(settings, running=False)
        assert ("tcp_listen_port", port) in facts.taken
        assert gather(settings, running=True).taken == ()
    assert facts.key_trouble is not None and "5 bytes" in facts.key_trouble[0]
    assert facts.pin_trouble is not None and "version" in facts.pin_trouble[0]
    assert facts.state_free and facts.state_writable and facts.descriptors > 0


def test_without_a_node_the_machine_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "z.toml"
    file.write_text(f'state_dir = "{tmp_path}"\nno_tun = true\n')
    found = examine_host(str(file)).findings
    assert "node.not_running" in codes(found)
