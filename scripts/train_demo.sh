#!/usr/bin/env bash
# Train the demo weights that the package brings further (docs/demo_weights.md), an hour or so of one core for each task.
#
#   bash scripts/train_demo.sh --task TASK [--python PYTHON] [--workdir FOLDER]
#                              [--iterations N] [--pictures N]
#
# --task        what to learn: denoise, deblur or derain
# --python      a Python with the plugin and its demo extra installed (default python3)
# --workdir     where everything goes (default demo_training)
# --iterations  train for a shorter or longer time than the demo weights were, with options/demo_TASK.yml
# --pictures    how many to cut from the photographs and to degrade for training (default 660)
#
# Photographs are those of WORKDIR/photographs/train and test if there are any; else those that
# scripts/demo_photographs.txt lists, from packages that apt-get (Debian 12) downloads and does not install.
# The same command once more goes on where it was interrupted. OMP_NUM_THREADS=1 lets two tasks share two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
task='' python=python3 workdir=demo_training iterations='' pictures=660
read_options "task python workdir iterations pictures" "$@"

[[ -n $task ]] || fail "--task is missing; --help lists the options"
[[ -z $iterations ]] || check_count iterations
check_count pictures
find_python
task_facts "$task"
recipe=$repository/options/demo_$task.yml
[[ -f $recipe ]] || fail "there is no demo training for $task; write $recipe"
mkdir -p "$workdir"
cd "$workdir"

get_photographs() {
    local split name package file _
    [[ -n $(command -v apt-get) && -n $(command -v dpkg-deb) ]] ||
        fail "there is no apt-get here; put photographs into $PWD/photographs/train and test"
    scratch=$(mktemp -d photographs.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/packages" "$scratch/photographs/train" "$scratch/photographs/test"
    grep -v '^#' "$repository/scripts/demo_photographs.txt" | while read -r split name package file _; do
        if [[ ! -d $scratch/packages/$package ]]; then
            (cd "$scratch" && apt-get download -qq "$package" && dpkg-deb -x "$package"_*.deb "packages/$package")
        fi
        cp "$scratch/packages/$package/usr/share/$file" "$scratch/photographs/$split/$name.${file##*.}"
    done
    mv "$scratch/photographs" photographs
}

[[ -d photographs ]] || get_photographs
make_pairs --photographs photographs --train "$pictures" --test 24 --seed 1
shorter=()
[[ -z $iterations ]] || shorter=(--force_yml "train:total_iter=$iterations")
nice "$python" -m basicsr.train -opt "$recipe" --auto_resume ${shorter[@]+"${shorter[@]}"}
"$python" -m basicsr.test -opt "$repository/options/quickstart_${task}_test.yml" --force_yml "name=demo_$task" \
    "path:pretrain_network_g=experiments/demo_$task/models/net_g_latest.pth"
report "demo_$task"
"$python" "$repository/scripts/convert_weights.py" "experiments/demo_$task/models/net_g_latest.pth" \
    "$full_name.safetensors"
