#!/usr/bin/env bash
# What `make demo` runs first: installs Dovetail, as a user gets it, into a virtual environment.
#   examples/demo_install.sh VENV PYTHON
# It says how far it is every few seconds, and shows pip's own words where pip fails.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="$1"
log="$(mktemp)"
progress=
trap 'rm -f "$log"; [ -z "$progress" ] || kill "$progress" 2>/dev/null || true' EXIT

echo "Installing Dovetail and its dependencies into $venv. The first time takes a minute or two:"
echo "pip downloads about 75 packages, 210 MB."
while sleep 4 &>/dev/null; do
  downloaded="$(grep -cE '^ +(Downloading|Using cached) ' "$log" || true)"
  installed="$(find "$venv" -name '*.dist-info' -prune 2>/dev/null | wc -l)"
  echo "  after $SECONDS s: $downloaded packages downloaded, $installed installed"
done &
progress=$!

"$2" -m venv "$venv"
# --no-compile: Python compiles what it imports, when it first does; all of it takes longer
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile --progress-bar=off \
  . -c constraints.txt >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
echo "  installed after $SECONDS s"
