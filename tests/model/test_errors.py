import pytest

from zosnet.model import HostError, PeerError, UsageError, ZosnetError


@pytest.mark.parametrize("kind", [UsageError, HostError, PeerError])
def test_every_fault_carries_its_remedy(kind: type[ZosnetError]) -> None:
    assert (str(kind("no")), kind("no").remedy) == ("no", "")
    assert kind("no", remedy="do this").remedy == "do this"
