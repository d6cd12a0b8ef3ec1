"""Where things are when nobody says so: the state, the socket, the settings. Imports next to nothing."""

import os
from collections.abc import Mapping
from pathlib import Path

SOCKET_VARIABLE = "ZOSNET_SOCKET"
LEDGER_VARIABLE = "ZOSNET_LEDGER"


def is_root() -> bool:
    """Whether this process may use the system's own places."""
    return os.geteuid() == 0


def state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """/var/lib/zosnet as root, else `zosnet` in the user's data directory (XDG base directories)."""
    if is_root():
        return Path("/var/lib/zosnet")
    return _user_directory(environment, "XDG_DATA_HOME", ".local/share") / "zosnet"


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    """/etc/zosnet/zosnet.toml as root, else `zosnet/zosnet.toml` in the user's configuration directory."""
    if is_root():
        return Path("/etc/zosnet/zosnet.toml")
    return _user_directory(environment, "XDG_CONFIG_HOME", ".config") / "zosnet" / "zosnet.toml"


def socket_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the node's API listens: ZOSNET_SOCKET, else /run/zosnet/zosnet.sock as root.

    Without either `zosnet.sock` in the user's runtime directory, or in the state directory where there is
    none.
    """
    if named := environment.get(SOCKET_VARIABLE):
        return Path(named)
    if is_root():
        return Path("/run/zosnet/zosnet.sock")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "zosnet.sock"
    return state_directory(environment) / "zosnet.sock"


def ledger_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a ledger of this machine, and the keys of whoever uses one, are kept: in the state directory."""
    return state_directory(environment) / "ledger"


def ledger_socket(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a ledger listens: ZOSNET_LEDGER, else beside the node's own socket."""
    if named := environment.get(LEDGER_VARIABLE):
        return Path(named)
    return socket_path(environment).with_name("ledger.sock")


def _user_directory(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    named = environment.get(variable, "")
    home = environment.get("HOME")
    # A relative path in these variables is to be ignored, says the XDG base directory specification.
    if named.startswith("/"):
        return Path(named)
    return (Path(home) if home else Path.home()) / usual
