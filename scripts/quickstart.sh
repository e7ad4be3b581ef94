#!/usr/bin/env bash
# See MPRNet learn on real photographs: one command, minutes on two cores, no data to download.
#
#   bash scripts/quickstart.sh [--task TASK] [--python PYTHON] [--workdir FOLDER]
#                              [--python-env new|current] [--iterations N]
#
# --task        what to learn: denoise (the default), deblur or derain
# --python      the Python, 3.10 or later, to make the virtual environment from (default python3)
# --workdir     where everything goes, environment included (default quickstart_run)
# --python-env  current: use --python as it is, with the plugin already installed, and make no environment
# --iterations  train for a shorter or longer time than the options file says
#
# A second run keeps the environment, unless the plugin's files have changed, and the data.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
task=denoise python=python3 workdir=quickstart_run python_env=new iterations=
read_options "task python workdir python-env iterations" "$@"

[[ $python_env == new || $python_env == current ]] || fail "--python-env is '$python_env'; expected new or current"
[[ -z $iterations ]] || check_count iterations
find_python
task_facts "$task"
mkdir -p "$workdir"
cd "$workdir"

phase() {
    [[ -z ${started:-} ]] || timings+="  $label: $((SECONDS - started)) s"$'\n'
    label=$1 started=$SECONDS
    printf '\n== %s\n' "$label"
}
timings=

if [[ $python_env == new ]]; then
    phase "Install into $workdir/venv"
    install venv demo
fi

phase "Photographs, degraded as a camera does it, packed into LMDB"
make_pairs

phase "Train"
options=(-opt "$repository/options/quickstart_$task.yml")
[[ -z $iterations ]] || options+=(--force_yml "train:total_iter=$iterations")
"$python" -m basicsr.train "${options[@]}"

phase "Restore photographs that it has not seen"
"$python" -m basicsr.test -opt "$repository/options/quickstart_${task}_test.yml"

phase "Result"
report "quickstart_$task"
phase "Time"
printf '%s' "$timings"
