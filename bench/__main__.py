"""`python -m bench`: overlays side by side, with this machine's congestion control and with CUBIC inside.

With options it is `python -m bench.overlay`, whose options it takes.
"""

import sys

from bench.overlay import main

CUBIC = ("run", "--topologies", "A,L", "--quick", "--congestion", "cubic", "--out", "target/bench-cubic.json")

if __name__ == "__main__":
    sys.exit(main() if sys.argv[1:] else max(main(["run"]), main(CUBIC)))
