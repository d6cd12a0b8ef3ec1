"""The LAN discovery beacon: `mycelium` ‖ TCP port ‖ router id, exactly 50 bytes. Nothing in it is signed."""

from struct import Struct
from typing import NamedTuple

from zosnet.model.errors import PeerError
from zosnet.model.router_id import RouterId

MAGIC = b"mycelium"
BEACON_BYTES = 50

_BEACON = Struct(">8sH40s")


class Beacon(NamedTuple):
    """What a node says of itself on its own LAN: dial me there."""

    tcp_port: int
    router_id: RouterId

    def encode(self) -> bytes:
        return _BEACON.pack(MAGIC, self.tcp_port, self.router_id.raw)

    @classmethod
    def decode(cls, datagram: bytes) -> "Beacon":
        """Raises PeerError for anything but 50 bytes with the magic and a port that can be dialled."""
        if len(datagram) != BEACON_BYTES:
            raise PeerError(f"a beacon has {BEACON_BYTES} bytes, {len(datagram)} came")
        magic, tcp_port, router_id = _BEACON.unpack(datagram)
        if magic != MAGIC or tcp_port == 0:
            raise PeerError("not a beacon")
        return cls(tcp_port, RouterId(router_id))
