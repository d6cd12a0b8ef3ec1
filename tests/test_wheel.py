"""With a wheel no compiler is needed: it installs into a clean environment and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WHEELHOUSE = ROOT / ".make" / "wheelhouse"


@pytest.mark.slow
@pytest.mark.skipif(not WHEELHOUSE.is_dir(), reason="no .make/wheelhouse: `make test` fills it")
def test_the_wheel_installs_without_a_compiler_and_runs(tmp_path: Path) -> None:
    maturin = ROOT / ".venv" / "bin" / "maturin"
    built = tmp_path / "dist"
    build: list[str | Path] = [maturin, "build", "--release", "--locked", "--quiet", "--out", built]
    subprocess.run(build, cwd=ROOT, check=True)
    (wheel,) = built.glob("*.whl")
    clean = tmp_path / "clean"
    subprocess.run([sys.executable, "-m", "venv", clean], check=True)
    no_compiler = {"PATH": str(clean / "bin"), "HOME": str(tmp_path)}
    pip: list[str | Path] = [clean / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index"]
    offline = [*pip, "--only-binary", ":all:", "--find-links", WHEELHOUSE]
    subprocess.run([*offline, wheel], env=no_compiler, cwd=tmp_path, check=True)
    zosnet = clean / "bin" / "zosnet"
    shown = subprocess.run([zosnet, "--help"], env=no_compiler, check=True, capture_output=True, text=True)
    assert "up" in shown.stdout.split()
    assert shown.stderr == ""


def test_the_makefile_names_every_command_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    words = (ROOT / "README.md").read_text().replace("`", " ").split()
    for verb in {after for before, after in pairwise(words) if before == "make"}:
        assert f"\n{verb}:" in makefile, verb
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
