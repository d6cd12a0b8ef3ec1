#!/bin/sh
# Pass compiler output on, without the lines that only say that all is well.
grep -v -E '^(Requirement already satisfied|Looking in links|🔗|🍹|🐍|📡|🛠|📦|⚠️  Warning: .*(pip|venv)|✏️)' || true
