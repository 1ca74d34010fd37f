#!/usr/bin/env bash
# What a change must pass before it lands: generated files, go.mod and format are as the tools leave them, the linter
# and the import rules agree. Works on a tree with changes too: it compares before and after, so only what the tools
# changed counts. On a clean checkout (CI) that is the same as a clean `git status`.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line per file of the tree, tracked or new, with the hash of its content.
tree() {
  local files
  files=$(git ls-files --cached --others --exclude-standard | sort -u | while read -r f; do test -f "$f" && echo "$f"; done)
  paste -d' ' <(git hash-object --stdin-paths <<<"$files") - <<<"$files"
}

step() {
  local start=$SECONDS
  printf 'verify: %s\n' "$1"
  "${@:2}"
  printf 'verify: %s took %ds\n' "$1" $((SECONDS - start))
}

before=$(tree)
step generate make generate
step tidy make tidy
step format make fmt
after=$(tree)
changed=$(comm -3 <(sort <<<"$before") <(sort <<<"$after") | sed 's/^\t*[0-9a-f]* //' | sort -u)
if test -n "$changed"; then
  echo "verify: these files were not as the tools leave them; they are now, commit them:" >&2
  sed 's/^/  /' <<<"$changed" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
step lint make lint
step 'import rules' make arch
echo 'verify: all good'
