#!/usr/bin/env bash
# See MPRNet learn on real photographs: one command, minutes on two cores, no data to download.
#
#   bash scripts/quickstart.sh [--task TASK] [--host basicsr|mmengine] [--python PYTHON] [--workdir FOLDER]
#                              [--python-env new|current] [--iterations N]
#
# --task        what to learn: denoise (the default), deblur or derain
# --host        which runner trains and tests: basicsr (the default) or mmengine, with the same recipe
# --python      the Python, 3.10 or later, to make the virtual environment from (default python3)
# --workdir     where everything goes, environment included (default quickstart_run)
# --python-env  current: use --python as it is, with the plugin already installed, and make no environment
# --iterations  train for a shorter or longer time than the options file says
#
# A second run keeps the environment, unless the plugin's files have changed, and the data.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
task=denoise host=basicsr python=python3 workdir=quickstart_run python_env=new iterations=
read_options "task host python workdir python-env iterations" "$@"

[[ $python_env == new || $python_env == current ]] || fail "--python-env is '$python_env'; expected new or current"
[[ $host == basicsr || $host == mmengine ]] || fail "--host is '$host'; expected basicsr or mmengine"
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

run=quickstart_$task
phase "Train"
if [[ $host == basicsr ]]; then
    options=(-opt "$repository/options/$run.yml")
    [[ -z $iterations ]] || options+=(--force_yml "train:total_iter=$iterations")
    "$python" -m basicsr.train "${options[@]}"
else
    config=$repository/options/mmengine/$run.py
    options=("$config")
    [[ -z $iterations ]] || options+=(--cfg-options "train_cfg.max_iters=$iterations")
    "$python" "$repository/scripts/mmengine_train.py" "${options[@]}"
fi

phase "Restore photographs that it has not seen"
if [[ $host == basicsr ]]; then
    "$python" -m basicsr.test -opt "$repository/options/${run}_test.yml"
else
    "$python" "$repository/scripts/mmengine_test.py" "$config" "$(<"work_dirs/$run/last_checkpoint")" --show-dir "results/$run"
fi

phase "Result"
report "$run"
phase "Time"
printf '%s' "$timings"
