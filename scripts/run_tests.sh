#!/usr/bin/env bash
# Makes a virtual environment, installs as the README says, and runs every check and test.
#
#   [PYTHON=python3] [VENV=.venv] bash scripts/run_tests.sh [options for pytest, such as -m "not slow"]
#
# A second run installs again only if the package's files have changed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
if [[ ${1:-} == --help ]]; then
    show_help
    exit 0
fi
cd "$repository"
python=${PYTHON:-python3}
# Small networks, and several processes at a time: more threads only get in each other's way.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

find_python
install "${VENV:-.venv}" test
"$python" -m ruff format --check .
"$python" -m ruff check .
"$python" -m mypy
# The tests of a file share what they set up, so a file is one process's; most of them wait for processes of their own.
"$python" -m pytest -n 2 --dist loadfile "$@"
