"""Settings: four sources, one line for each mistake."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import Endpoint, HostError, ListenAddress, Prefix, PublicKey, UsageError
from zosnet.store import places
from zosnet.store.settings import OPTIONS, Settings, load, socket_path

#: What a Mycelium configuration looks like (reference, section 8.8).
MYCELIUM = """
peers = ["tcp://192.0.2.1:9651", "quic://[2001:db8::1]:9651"]
api_addr = "127.0.0.1:8989"
metrics_api_address = "127.0.0.1:9100"
tcp_listen_port = 9652
quic_listen_port = 9653
tun_name = "mycelium0"
disable_peer_discovery = false
no_tun = true
disable_quic = true
peer_discovery_port = 9655
peer_discovery_interfaces = ["eth0", "eth1"]
firewall_mark = 30
update_workers = 2
enable_dns = false
topic_config = "/etc/mycelium/topics.toml"
"""


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' user is nobody special, so that no file of this machine's plays a part."""
    monkeypatch.setattr(places, "is_root", lambda: False)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "zosnet.toml"
    path.write_text(text)
    return path


def from_file(tmp_path: Path, text: str) -> Settings:
    return load({"config": str(written(tmp_path, text))}, {"HOME": str(tmp_path)})


def test_nothing_said_means_the_defaults(tmp_path: Path) -> None:
    settings = load({}, {"HOME": str(tmp_path)})
    assert settings == Settings(
        state_dir=tmp_path / ".local/share/zosnet", socket=tmp_path / ".local/share/zosnet/zosnet.sock"
    )
    assert (settings.tcp_listen_port, settings.tun_name, settings.mtu) == (9651, "zosnet", 1360)
    assert settings.key_path == tmp_path / ".local/share/zosnet/priv_key.bin"
    assert 1 <= settings.lane_count <= 4


def test_a_file_of_mycelium_s_loads(tmp_path: Path) -> None:
    settings = from_file(tmp_path, MYCELIUM)
    assert settings.peers == (Endpoint("tcp", "192.0.2.1", 9651), Endpoint("quic", "2001:db8::1", 9651))
    assert settings.api_addr == ListenAddress("127.0.0.1", 8989)
    assert (settings.tcp_listen_port, settings.quic_listen_port, settings.peer_discovery_port) == (
        9652,
        9653,
        9655,
    )
    assert settings.peer_discovery_interfaces == ("eth0", "eth1")
    assert (settings.no_tun, settings.disable_quic, settings.disable_peer_discovery) == (True, True, False)
    assert (settings.firewall_mark, settings.topic_config) == (30, Path("/etc/mycelium/topics.toml"))


def test_a_single_peer_needs_no_list(tmp_path: Path) -> None:
    assert from_file(tmp_path, 'peers = "tcp://a.example:1"').peers == (Endpoint("tcp", "a.example", 1),)


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    file = written(tmp_path, 'mtu = 1400\ntun_name = "file"\nlanes = 2\npeers = ["tcp://file:1"]')
    environment = {
        "HOME": str(tmp_path),
        "ZOSNET_CONFIG": str(file),
        "ZOSNET_TUN_NAME": "env",
        "ZOSNET_LANES": "3",
    }
    settings = load({"lanes": 4, "mtu": None, "no_tun": False, "peers": ()}, environment)
    assert (settings.mtu, settings.tun_name, settings.lanes, settings.lane_count) == (1400, "env", 4, 4)
    assert settings.peers == (Endpoint("tcp", "file", 1),)
    assert settings.config == file
    assert load({"peers": ("quic://b:2",)}, environment).peers == (Endpoint("quic", "b", 2),), (
        "replaced, not joined"
    )


def test_a_typed_zero_is_a_value(tmp_path: Path) -> None:
    settings = load({"tcp_listen_port": 0, "firewall_mark": "0x1f"}, {"HOME": str(tmp_path)})
    assert (settings.tcp_listen_port, settings.firewall_mark) == (0, 31)


def test_the_usual_file_is_read_where_there_is_one(tmp_path: Path) -> None:
    usual = tmp_path / "zosnet"
    usual.mkdir()
    (usual / "zosnet.toml").write_text("mtu = 1300")
    assert load({}, {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path)}).mtu == 1300
    assert load({}, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}).mtu == 1360


def test_text_forms_are_read(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "ZOSNET_PEERS": "tcp://a:1, tcp://b:2 tcp://a:1",
        "ZOSNET_NO_TUN": "yes",
        "ZOSNET_DISABLE_QUIC": "0",
        "ZOSNET_PEER_DISCOVERY_INTERFACE": "eth0,eth1",
        "ZOSNET_LOG_LEVEL": "DEBUG",
        "ZOSNET_MTU": "",
    }
    settings = load({}, environment)
    assert settings.peers == (Endpoint("tcp", "a", 1), Endpoint("tcp", "b", 2))
    assert (settings.no_tun, settings.disable_quic, settings.log_level) == (True, False, "debug")
    assert settings.peer_discovery_interfaces == ("eth0", "eth1")


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("mtu = 1300\ntcp_listen_port = 65536", "line 2, tcp_listen_port: 65536 is not a", "give a port"),
        ('tcp_listen_port = "9651"', "line 1, tcp_listen_port: '9651' is not a port", "give a port"),
        ("tcp_listen_port = true", "True is not a port", "give a port"),
        ("no_tun = 1", "line 1, no_tun: 1 is not true or false", "give true or false"),
        ('no_tun = "yes"', "not true or false", "give"),
        ("mtu = 1279", "a whole number from 1280", "give"),
        ('peers = ["sctp://a:1"]', "line 1, peers: 'sctp://a:1' is not an endpoint", "tcp://host:9651"),
        ('peers = ["udp://a?x"]', "line 1, peers: 'udp://a?x' is not an endpoint", "tcp://host:9651"),
        ("max_link_mtu = 1000", "a whole number from 1280", "give"),
        ("peers = [1]", "not a list of endpoints", "give a list"),
        ("peers = 1", "not a list of endpoints", "give a list"),
        ('api_addr = "8989"', "line 1, api_addr: '8989' is no address to listen at", "127.0.0.1:8989"),
        ('tun_name = "a-name-that-is-too-long"', "not an interface name", "15 bytes"),
        ('tun_name = "a/b"', "not an interface name", "15 bytes"),
        ('key_file = ""', "'' is not a path", "give a path"),
        ('key_file = "~nobody-of-that-name/key"', "not a path", "give a path"),
        ('log_level = "loud"', "not one of debug, info, warning, error", "give one of"),
        ("\n\ntcp-listen-port = 1", "line 3, tcp-listen-port: there is no", "did you mean tcp_listen_port?"),
        ("[peer]\na = 1", "line 1, peer: there is no such setting", "did you mean peers?"),
        ("zzz = 1", "there is no such setting", "--help"),
        ('config = "x"', "there is no such setting", "did you mean"),
        ('"mtu\\u0031" = 1', "zosnet.toml, mtu1: there is no such setting", "did you mean mtu?"),
        ('\ncdn_cache = "/tmp"', "line 2, cdn_cache: zosnet has no CDN", "take it out"),
        ('network_name = "net"', "private networks", "take it out"),
        ("enable_dns = true", "no DNS forwarder", "take it out"),
        ("mtu = \nlanes = 1", "line 1", "write it as TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_one_line_with_its_place(
    tmp_path: Path, text: str, message: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as refused:
        from_file(tmp_path, text)
    assert message in str(refused.value) and "zosnet.toml" in str(refused.value)
    assert remedy in refused.value.remedy
    assert "\n" not in str(refused.value) + refused.value.remedy


@pytest.mark.parametrize(
    ("typed", "environment", "message"),
    [
        ({"mtu": "many"}, {}, "the option --mtu: 'many' is not a whole number"),
        ({}, {"ZOSNET_MTU": "many"}, "the environment variable ZOSNET_MTU: 'many' is not"),
        ({"peers": ("nonsense",)}, {}, "the option --peers: 'nonsense' is not an endpoint"),
        ({"no_tun": "perhaps"}, {}, "the option --no-tun"),
        ({"tun_name": ""}, {}, "the option --tun-name"),
    ],
)
def test_a_mistake_elsewhere_names_the_option_or_the_variable(
    tmp_path: Path, typed: dict[str, object], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load(typed, {"HOME": str(tmp_path)} | environment)
    assert message in str(refused.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for typed, environment in (
        ({"config": tmp_path / "gone"}, {}),
        ({}, {"ZOSNET_CONFIG": str(tmp_path / "gone")}),
    ):
        with pytest.raises(HostError, match="gone cannot be read: No such file"):
            load(typed, {"HOME": str(tmp_path)} | environment)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * ((1 << 20) + 1)])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "zosnet.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="not a text"):
        load({"config": str(path)}, {"HOME": str(tmp_path)})


def test_places_depend_on_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_path({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/zosnet.sock")
    assert socket_path({"ZOSNET_SOCKET": "/tmp/s"}) == Path("/tmp/s")
    assert places.state_directory({"XDG_DATA_HOME": "/data"}) == Path("/data/zosnet")
    assert places.state_directory({}) == Path.home() / ".local/share/zosnet"
    monkeypatch.setattr(places, "is_root", lambda: True)
    assert socket_path({}) == Path("/run/zosnet/zosnet.sock")
    assert places.state_directory({}) == Path("/var/lib/zosnet")
    assert places.settings_file({}) == Path("/etc/zosnet/zosnet.toml")


def test_a_state_directory_moves_the_key_unless_that_is_named(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert load({"state_dir": "/srv/z"}, environment).key_path == Path("/srv/z/priv_key.bin")
    assert load({"state_dir": "/srv/z", "key_file": "/k"}, environment).key_path == Path("/k")


def test_options_are_told_apart_and_explained() -> None:
    flags = [flag for each in OPTIONS for flag in each.flags]
    assert len(flags) == len(set(flags))
    for each in OPTIONS:
        assert each.help.endswith(".") and each.default and each.flags[0].startswith("--")
        assert each.variable.startswith("ZOSNET_")


@given(st.dictionaries(st.sampled_from([each.name for each in OPTIONS]), st.text(max_size=20), max_size=3))
def test_any_text_is_a_setting_or_one_of_our_errors(typed: dict[str, str]) -> None:
    try:
        load(typed, {"HOME": "/nowhere"})
    except (UsageError, HostError) as error:
        assert error.remedy


@given(st.binary(max_size=80))
def test_any_file_is_settings_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        load({"config": str(path)}, {"HOME": "/nowhere"})
    except UsageError as error:
        assert error.remedy


def test_rules_are_parted_by_semicolons_and_everything_else_by_blanks(tmp_path: Path) -> None:
    key = "07" * 32
    environment = {
        "HOME": str(tmp_path),
        "ZOSNET_ALLOW": f"tcp/22,80 from key:{key}; udp from any;",
        "ZOSNET_ALLOW_MESSAGES": f"key:{key} 5a6:f0c6::/32",
        "ZOSNET_ALLOW_LINKS": f"{key},key:{key}",
    }
    settings = load({}, environment)
    assert [str(rule) for rule in settings.allow] == [f"tcp/22,80 from key:{key}", "udp from any"]
    assert settings.allow_messages == (PublicKey.parse(key), Prefix.parse("5a6:f0c6::/32"))
    assert settings.allow_links == (PublicKey.parse(key),)
    assert settings.allow_inbound == "none"
    typed = load({"allow": ("icmp", "tcp/1 from any"), "allow_inbound": "ALL"}, environment)
    assert [str(rule) for rule in typed.allow] == ["icmp from any", "tcp/1 from any"]
    assert typed.allow_inbound == "all"
    listed = from_file(tmp_path, 'allow = ["tcp/22 from any", "tcp/22"]')
    assert [str(rule) for rule in listed.allow] == ["tcp/22 from any"], "the same rule"
    with pytest.raises(UsageError, match="line 1, allow: 'tcp/x': 'x' is no port"):
        from_file(tmp_path, 'allow = "tcp/x"')
