#!/usr/bin/env bash
# Runs `go mod tidy` in every module: modules.sh tidy
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
tidy)
  git ls-files --cached --others --exclude-standard -- 'go.mod' '*/go.mod' | while read -r mod; do
    echo "go mod tidy: $(dirname "$mod")"
    go mod tidy -C "$(dirname "$mod")"
  done
  ;;
*)
  echo "usage: hack/modules.sh tidy" >&2
  exit 2
  ;;
esac
