"""`python -m bench`: overlays side by side, as `python -m bench.overlay` (whose options it takes)."""

import sys

from bench.overlay import main

if __name__ == "__main__":
    sys.exit(main())
