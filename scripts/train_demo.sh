#!/usr/bin/env bash
# Train the demo weights that the package brings (docs/demo_weights.md), an hour or so of one core for each task.
#
#   bash scripts/train_demo.sh --task denoise|deblur|derain [--python PYTHON] [--workdir FOLDER]
#                              [--iterations N] [--pictures N]
#
# --task        what to learn
# --python      a Python with the plugin and its demo extra installed (default python3)
# --workdir     where everything goes (default demo_training)
# --iterations  train for a shorter or longer time than the demo weights were
# --pictures    how many to cut from the photographs and to degrade for training (default 660)
#
# Photographs are those of WORKDIR/photographs/train and test if there are any; else those that
# scripts/demo_photographs.txt lists, from packages that apt-get (Debian 12) downloads and does not install.
# The same command once more goes on where it was interrupted. OMP_NUM_THREADS=1 lets two tasks share two cores.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
task='' python=python3 workdir=demo_training iterations='' pictures=660

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

while (($#)); do
    case $1 in
        -h | --help)
            sed -n '2,/^set -e/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --task | --python | --workdir | --iterations | --pictures) (($# > 1)) || fail "$1 needs a value" ;;
        *) fail "option '$1' is not known; --help lists them" ;;
    esac
    case $1 in
        --task) task=$2 ;;
        --python) python=$2 ;;
        --workdir) workdir=$2 ;;
        --iterations) iterations=$2 ;;
        --pictures) pictures=$2 ;;
    esac
    shift 2
done

# Larger patches show more of a blur's path; the picture around 64 pixels tells enough of noise and of rain.
case $task in
    denoise) data=SIDD test=val tool=sidd weights=Denoising iterations=${iterations:-5400} patch=64 batch=4 ;;
    deblur) data=GoPro test=test tool=gopro weights=Deblurring iterations=${iterations:-6000} patch=96 batch=3 ;;
    derain) data=Synthetic_Rain_Datasets test=test/Test100 tool=rain13k weights=Deraining iterations=${iterations:-2800} patch=64 batch=4 ;;
    *) fail "--task is '$task'; expected denoise, deblur or derain" ;;
esac
[[ $iterations =~ ^[1-9][0-9]*$ ]] || fail "--iterations is '$iterations'; expected a whole number from 1 up"
[[ $pictures =~ ^[1-9][0-9]*$ ]] || fail "--pictures is '$pictures'; expected a whole number from 1 up"
python=$(command -v "$python") || fail "--python: there is no such program; give the path of one with the plugin installed"
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") # still right after the cd below
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
"$python" "$repository/scripts/make_demo_data.py" --output datasets --tasks "$task" --photographs photographs \
    --train "$pictures" --test 24 --seed 1 --previews
"$python" -m "lmdb_tools.$tool" --source "datasets/$data" --output "datasets/${data}_lmdb" >/dev/null
nice "$python" -m basicsr.train -opt "$repository/options/quickstart_$task.yml" --auto_resume --force_yml \
    "name=demo_$task" "train:total_iter=$iterations" train:scheduler:iters_per_epoch=100 \
    "train:scheduler:cosine_epochs=$((iterations > 200 ? iterations / 100 - 1 : 1))" \
    "datasets:train:gt_size=$patch" "datasets:train:batch_size=$batch" val:val_freq=1000 logger:save_checkpoint_freq=500
"$python" -m basicsr.test -opt "$repository/options/quickstart_${task}_test.yml" --force_yml "name=demo_$task" \
    "path:pretrain_network_g=experiments/demo_$task/models/net_g_latest.pth"
"$python" "$repository/scripts/quickstart_report.py" --data "datasets/$data/$test" \
    --results "results/demo_$task" --output "demo_$task.png"
"$python" "$repository/scripts/convert_weights.py" "experiments/demo_$task/models/net_g_latest.pth" "$weights.safetensors"
