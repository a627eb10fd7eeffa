#!/usr/bin/env bash
# Makes .venv with Python 3.11 and the pinned requirements, once: a second call with the same pins does nothing.
# usage: tools/make_env.sh REQUIREMENTS...
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
[ "$#" -gt 0 ] || set -- requirements.txt

# What an earlier call installed stays wanted, so that `make demo` and `make test` do not undo each other.
stamp=$venv/.installed
wanted=$(cat constraints.txt "$@" | cksum)
key=$(printf '%s ' "$@")
if [ -x "$venv/bin/python" ] && grep -qxF "$key $wanted" "$stamp" 2>/dev/null; then
  exit 0
fi

is_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

make_venv() {
  local python
  for python in "${PYTHON:-}" python3.11 python3 python; do
    [ -n "$python" ] && is_311 "$python" && "$python" -m venv "$venv" 2>/dev/null && return 0
    rm -rf "$venv"
  done
  # No Python 3.11 that can make environments: uv fetches one.
  if ! command -v uv >/dev/null 2>&1; then
    python3 -m pip install --quiet --target build/uv uv >/dev/null 2>&1 || return 1
    PATH="$PWD/build/uv/bin:$PATH"
  fi
  echo "No Python 3.11 here: asking uv for one" >&2
  uv venv --quiet --seed --python 3.11 "$venv"
}

if ! { [ -x "$venv/bin/python" ] && is_311 "$venv/bin/python"; }; then
  rm -rf "$venv"
  if ! make_venv; then
    rm -rf "$venv"
    echo "error: calcseg_tf needs Python 3.11 with venv, or uv to fetch it; install one of them and repeat" >&2
    exit 1
  fi
fi

echo "Installing $* into $venv (a minute or two, once)" >&2
arguments=()
for file in "$@"; do arguments+=(--requirement "$file"); done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "${arguments[@]}"
"$venv/bin/python" -m pip check --disable-pip-version-check >/dev/null
{ cat "$stamp" 2>/dev/null | grep -vF "$key" || true; echo "$key $wanted"; } >"$stamp.partial"
mv "$stamp.partial" "$stamp"
