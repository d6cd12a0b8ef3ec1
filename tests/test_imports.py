"""The house has floors: a room imports only rooms below it, and pure rooms touch no I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import zosnet

SOURCE = Path(zosnet.__file__).parent
# What each room may import of zosnet. A room that is not listed has not been thought about.
MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "wire": {"model"},
    "babel": {"model", "wire"},
    "message": {"model", "wire"},
    "access": {"model"},
    "ledger": {"model", "_core"},
    "store": {"model", "message", "access"},
    "dataplane": {"model", "_core"},
    "service": {"model", "wire", "babel", "message", "access", "store", "dataplane"},
    "api": {"model", "ledger", "store", "service"},
    "cli": {"model", "ledger", "store", "service", "api"},
    "lab": {"model", "ledger", "wire", "babel", "message", "access", "store", "dataplane", "service", "api"},
}
PURE = {"model", "wire", "babel", "message", "access", "ledger"}
# Parts of pure rooms that are not: the ledger's rules decide, its engine and its client keep and carry.
IMPURE_PARTS = {"ledger": {"engine", "client"}}
# fmt: off
IMPURE_MODULES = {
    "asyncio", "ctypes", "fcntl", "http", "io", "logging", "multiprocessing", "os", "pathlib", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib",
}
# fmt: on
# The extension's importers: the data plane, and the ledger, for what is slow in Python.
EXTENSION = "zosnet._core"
IMPORTERS = {"dataplane", "ledger", "ledger/engine", "ledger/engine/cometbft"}


def rooms() -> list[str]:
    return sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and not path.name.startswith("__"))


def imports(path: Path) -> set[str]:
    """Absolute dotted names that a file imports, relative ones resolved; typing-only imports count too."""
    package = ["zosnet", *path.relative_to(SOURCE).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "zosnet" else {module}
    return found


def files_of(room: str) -> list[Path]:
    return sorted((SOURCE / room).rglob("*.py"))


def pure_files_of(room: str) -> list[Path]:
    impure = IMPURE_PARTS.get(room, set())
    return [path for path in files_of(room) if path.relative_to(SOURCE / room).parts[0] not in impure]


@pytest.mark.parametrize("room", rooms())
def test_imports_go_only_downwards(room: str) -> None:
    assert room in MAY_IMPORT, f"say in this test what {room} may import"
    used = {
        name.split(".")[1]
        for path in files_of(room)
        for name in imports(path)
        if name.startswith("zosnet.") and name != "zosnet.__version__"
    }
    assert used - {room} <= MAY_IMPORT[room]


@pytest.mark.parametrize("room", sorted(PURE & set(rooms())))
def test_pure_rooms_never_import_io(room: str) -> None:
    for path in pure_files_of(room):
        assert {name.split(".")[0] for name in imports(path)}.isdisjoint(IMPURE_MODULES), path


@pytest.mark.parametrize("room", sorted(IMPURE_PARTS))
def test_the_pure_part_of_a_room_never_imports_its_impure_parts(room: str) -> None:
    for path in pure_files_of(room):
        for part in IMPURE_PARTS[room]:
            assert not any(f"{name}.".startswith(f"zosnet.{room}.{part}.") for name in imports(path)), path


def test_only_its_importers_import_the_extension() -> None:
    found = {
        path.parent.relative_to(SOURCE).as_posix()
        for room in rooms()
        for path in files_of(room)
        if any(f"{name}.".startswith(f"{EXTENSION}.") for name in imports(path))
    }
    assert found == IMPORTERS


def test_the_order_of_the_rooms_has_no_circle() -> None:
    order: list[str] = []
    left = dict(MAY_IMPORT)
    while left:
        free = [room for room, below in left.items() if below - {"_core"} <= set(order)]
        assert free, f"circle among {sorted(left)}"
        order += free
        for room in free:
            del left[room]


def test_every_file_says_what_it_is() -> None:
    silent = [
        path
        for room in rooms()
        for path in files_of(room)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
