"""Hold line coverage to its bars: 95 % of the pure rooms, 85 % of all Python (after `pytest --cov`)."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from coverage import Coverage

PURE_ROOMS = ("model", "wire", "babel", "message", "access")
PURE_BAR, TOTAL_BAR = 95.0, 85.0


def main() -> int:
    """Print coverage per room; exit 1 when a bar is missed."""
    coverage = Coverage()
    coverage.combine(keep=True)
    coverage.load()
    root = Path(__file__).resolve().parent.parent / "src" / "zosnet"
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted(root.rglob("*.py")):
        _, statements, _, missing, _ = coverage.analysis2(str(path))
        parts = path.relative_to(root).parts
        room = parts[0] if len(parts) > 1 else "(top)"
        lines[room][0] += len(statements)
        lines[room][1] += len(missing)

    def percent(rooms: list[str]) -> float:
        total = sum(lines[room][0] for room in rooms)
        return 100.0 * (1 - sum(lines[room][1] for room in rooms) / total) if total else 100.0

    for room in sorted(lines):
        print(f"coverage: {room:10} {percent([room]):6.1f} %")
    pure, total = percent([room for room in PURE_ROOMS if room in lines]), percent(list(lines))
    print(f"coverage: pure rooms {pure:.1f} % (bar {PURE_BAR:.0f} %)")
    print(f"coverage: all Python {total:.1f} % (bar {TOTAL_BAR:.0f} %)")
    return 0 if pure >= PURE_BAR and total >= TOTAL_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
