#!/usr/bin/env bash
# Fuzz every decoder for $1 seconds each. libFuzzer needs compiler flags that stable Rust hides behind RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/../rust"
command -v cargo-fuzz >/dev/null || { ../scripts/say.sh "installing cargo-fuzz"; cargo install --locked --quiet cargo-fuzz; }
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list --fuzz-dir fuzz); do
    ../scripts/say.sh "fuzz: $target, ${1:-60} s"
    cargo fuzz run --fuzz-dir fuzz "$target" -- -max_total_time="${1:-60}" -rss_limit_mb=2048 -print_final_stats=1
done
