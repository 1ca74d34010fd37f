#!/usr/bin/env bash
# Every generated file of the repository. Each part runs where its input is.
set -euo pipefail
cd "$(dirname "$0")/.."

tool() { go tool -modfile=hack/tools/go.mod "$@"; }
has() { compgen -G "$1" >/dev/null; }

if has 'api/v1alpha1/*.go'; then
  tool controller-gen object paths=./api/v1alpha1/...
  tool controller-gen crd paths=./api/v1alpha1/... output:crd:artifacts:config=config/crd/bases
fi
if has 'controllers/*/*.go'; then
  tool controller-gen rbac:roleName=muster-operator paths=./controllers/... output:rbac:artifacts:config=config/rbac
fi
if git ls-files --cached --others --exclude-standard | grep -q '\.proto$'; then
  tool buf generate
fi
if has 'hack/chartgen/*.go'; then
  go run ./hack/chartgen
fi
