#!/usr/bin/env bash
# Make a site of docs/*.md and of the docstrings; whatever leads nowhere is an error.
#
#   bash scripts/build_docs.sh [--python PYTHON] [--output FOLDER]
#
# --python  a Python with the plugin and its docs extra installed (default python3)
# --output  where the site goes (default site); open index.html there
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
python=python3 output=site
read_options "python output" "$@"
find_python
"$python" -c 'import sphinx, myst_parser, furo' 2>/dev/null || fail "--python: $python has no Sphinx: pip install '.[docs]'"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# -W: a warning is an error; --keep-going: all of them at once; -E and the scratch folder: nothing is left from before.
"$python" -m sphinx -W --keep-going -E -q -b html -d "$scratch" "$repository/docs" "$output"
printf '%s\n' "$output/index.html"
