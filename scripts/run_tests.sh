#!/usr/bin/env bash
# Makes a virtual environment, installs as the README says, and runs every check and test.
#
#   [PYTHON=python3] [VENV=.venv] bash scripts/run_tests.sh [options for pytest, such as -m "not slow"]
#
# A second run installs again only if the package's files have changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
# Small networks, and several processes at a time: more threads only get in each other's way.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

stamp=$VENV/installed-for-tests
files=$(find setup.py pyproject.toml ./*.pth ./*.start scripts/install_host.py mprnet_plugin lmdb_tools \
    -type f ! -name '*.py[co]' -exec cksum {} + | LC_ALL=C sort)
if [[ ! -f $stamp || $(<"$stamp") != "$files" ]]; then
    [[ -x $VENV/bin/python ]] || "$PYTHON" -m venv "$VENV"
    rm -rf build/lib # what an earlier build left would get into the wheel
    "$VENV/bin/python" scripts/install_host.py --quiet
    "$VENV/bin/python" -m pip install --quiet ".[test]"
    printf '%s\n' "$files" >"$stamp"
fi

python=$VENV/bin/python
"$python" -m ruff format --check .
"$python" -m ruff check .
"$python" -m mypy
"$python" -m pytest "$@"
