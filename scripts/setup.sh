#!/usr/bin/env bash
# Install what this checkout lacks: system packages, the Rust toolchain's parts, .venv. Running it again costs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.env
say() { scripts/say.sh "setup: $*"; }
fail() { printf 'error: %s\nremedy: %s\n' "$1" "$2" >&2; exit 3; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

if [ "$(id -u)" = 0 ]; then sudo=(); elif command -v sudo >/dev/null; then sudo=(sudo); else
    fail "system packages can't be installed: this is not root and there is no sudo" "run the same command as root"
fi

wanted() {  # package, program that shows that it is there
    command -v "$2" >/dev/null || missing+=("$1")
}
missing=()
wanted iproute2 ip; wanted nftables nft; wanted iputils-ping ping; wanted gcc gcc; wanted make make
wanted python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "missing: ${missing[*]}, and there is no apt-get" "install them with this system's package manager, then run again"
    say "installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq >/dev/null
    "${sudo[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
fi

python=
for name in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$name" >/dev/null || continue
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if at_least "$PYTHON_MIN" "$version"; then python=$name; break; fi
done
[ -n "$python" ] || fail "Python $PYTHON_MIN or newer is needed" "install it (Debian 12 and newer have it), then run again"

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
if ! command -v cargo >/dev/null && ! command -v rustup >/dev/null; then
    if [ -n "$(apt-cache policy rustup 2>/dev/null | sed -n 's/ *Candidate: \((none)\)\?//p')" ]; then
        say "installing the Rust toolchain (package rustup)"
        "${sudo[@]}" apt-get install -y -qq rustup >/dev/null
        rustup default stable
    else
        fail "the Rust toolchain is missing, and this system has no package rustup" "install Rust $RUST_MIN or newer with rustup, then run again; or install a wheel, which needs no compiler"
    fi
fi
rust=$(rustc --version | cut -d' ' -f2)
at_least "$RUST_MIN" "$rust" || fail "Rust $rust is too old: $RUST_MIN or newer is needed" "rustup update stable"
for part in clippy rustfmt; do
    cargo "${part/rust/}" --version >/dev/null 2>&1 || { say "adding the toolchain's $part"; rustup component add "$part"; }
done

if [ ! -x .venv/bin/python ]; then
    say "making .venv ($("$python" --version))"
    "$python" -m venv .venv
fi
sum=$(sha256sum requirements-dev.lock | cut -d' ' -f1)
if [ "$(cat .venv/.locked 2>/dev/null || true)" != "$sum" ]; then
    say "installing the locked Python packages into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
    printf '%s\n' "$sum" > .venv/.locked
fi
say "ready: $("$python" --version), Rust $rust"
