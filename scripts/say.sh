#!/bin/sh
# One line of progress, in bold where somebody looks.
if [ -t 1 ]; then printf '\033[1m==> %s\033[0m\n' "$*"; else printf '==> %s\n' "$*"; fi
