"""The recorded blocks under another Python: a rule that leans on one interpreter's habits would show."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.ledger.test_vectors import FILE

SOURCE = Path(__file__).parents[2] / "src"
OLDEST, NEWEST = 11, 16
NEEDED = ("blake3", "cryptography")
REPLAY = """
import json, sys
from zosnet.ledger.encoding import decode
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.replay import replay
written = json.load(open(sys.argv[1]))
raw = bytes.fromhex
blocks = [
    (SignedHeader.parse(raw(each["header"])), tuple(map(raw, each["transactions"])))
    for each in written["blocks"]
]
roots = [header.root.hex() for header in replay(decode(Genesis, raw(written["genesis"])), blocks)]
print(json.dumps({"python": sys.version_info[:2], "roots": roots}))
"""


def other_pythons() -> list[str]:
    """Interpreters of other versions, newest first."""
    minors = [minor for minor in range(NEWEST, OLDEST - 1, -1) if minor != sys.version_info.minor]
    on_path = [shutil.which(f"python3.{minor}") for minor in minors]
    kept = Path.home() / ".pyenv" / "versions"
    managed = [
        str(path) for minor in minors for path in sorted(kept.glob(f"3.{minor}.*/bin/python3.{minor}"))
    ]
    return [each for each in (*on_path, *managed) if each is not None and works(each)]


def works(python: str) -> bool:
    """Whether it is more than a name: one that isn't there any more, or has no ensurepip, can't be used."""
    tried = [python, "-c", "import ensurepip, venv"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


def with_what_is_needed(home: Path) -> Path:
    """A virtual environment of another version, with the wheels that there are for it."""
    pythons = other_pythons()
    if not pythons:
        pytest.skip("this machine has one Python 3.11 or newer only")
    wanted = [f"{name}=={version(name)}" for name in NEEDED]
    for number, python in enumerate(pythons):
        made = home / str(number)
        subprocess.run([python, "-m", "venv", made], check=True)
        pip = [str(made / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, "--only-binary=:all:", *wanted], check=False).returncode == 0:
            return made / "bin" / "python"
    pytest.skip(f"no wheels of {' and '.join(wanted)} for {', '.join(pythons)}")


def test_recorded_blocks_give_the_same_roots_under_another_python(tmp_path: Path) -> None:
    told = subprocess.run(
        [with_what_is_needed(tmp_path), "-c", REPLAY, FILE],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE)},
    )
    found = json.loads(told.stdout)
    assert found["python"] != list(sys.version_info[:2])
    assert found["roots"] == [each["root"] for each in json.loads(FILE.read_text())["blocks"]]
