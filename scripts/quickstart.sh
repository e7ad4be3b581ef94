#!/usr/bin/env bash
# See MPRNet learn on real photographs: one command, minutes on two cores, no data to download.
#
#   bash scripts/quickstart.sh [--task denoise|deblur|derain] [--python PYTHON] [--workdir FOLDER]
#                              [--python-env new|current] [--iterations N]
#
# --task        what to learn (default denoise)
# --python      the Python, 3.10 or later, to make the virtual environment from (default python3)
# --workdir     where everything goes, environment included (default quickstart_run)
# --python-env  current: use --python as it is, with the plugin already installed, and make no environment
# --iterations  train for a shorter or longer time than the options file says
#
# A second run keeps the environment, unless the plugin's files have changed, and the data.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
task=denoise python=python3 workdir=quickstart_run environment=new iterations=

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
        --task | --python | --workdir | --python-env | --iterations) (($# > 1)) || fail "$1 needs a value" ;;
        *) fail "option '$1' is not known; --help lists them" ;;
    esac
    case $1 in
        --task) task=$2 ;;
        --python) python=$2 ;;
        --workdir) workdir=$2 ;;
        --python-env) environment=$2 ;;
        --iterations) iterations=$2 ;;
    esac
    shift 2
done

case $task in
    denoise) data=SIDD test=val tool=sidd ;;
    deblur) data=GoPro test=test tool=gopro ;;
    derain) data=Synthetic_Rain_Datasets test=test/Test100 tool=rain13k ;;
    *) fail "--task is '$task'; expected denoise, deblur or derain" ;;
esac
[[ $environment == new || $environment == current ]] || fail "--python-env is '$environment'; expected new or current"
[[ -z $iterations || $iterations =~ ^[1-9][0-9]*$ ]] || fail "--iterations is '$iterations'; expected a whole number from 1 up"
python=$(command -v "$python") || fail "--python: there is no such program; give the path of a Python 3.10 or later"
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") # still right after the cd below
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "--python: $python is older than 3.10"
mkdir -p "$workdir"
cd "$workdir"

phase() {
    [[ -z ${started:-} ]] || timings+="  $label: $((SECONDS - started)) s"$'\n'
    label=$1 started=$SECONDS
    printf '\n== %s\n' "$label"
}
timings=

install() {
    local files stamp=venv/installed-for-quickstart
    files=$(cd "$repository" && find setup.py pyproject.toml ./*.pth ./*.start scripts/install_host.py mprnet_plugin \
        lmdb_tools -type f ! -name '*.py[co]' -exec cksum {} + | LC_ALL=C sort)
    if [[ ! -f $stamp || $(<"$stamp") != "$files" ]]; then
        [[ -x venv/bin/python ]] || "$python" -m venv venv
        venv/bin/python "$repository/scripts/install_host.py" --quiet
        rm -rf "$repository/build/lib" # what an earlier build left would get into the wheel
        venv/bin/python -m pip install --quiet "$repository[demo]"
        printf '%s\n' "$files" >"$stamp"
    fi
    python=$PWD/venv/bin/python
}

if [[ $environment == new ]]; then
    phase "Install into $workdir/venv"
    install
fi

phase "Photographs, degraded as a camera does it"
"$python" "$repository/scripts/make_demo_data.py" --output datasets --tasks "$task" --previews

phase "Pack them into LMDB"
"$python" -m "lmdb_tools.$tool" --source "datasets/$data" --output "datasets/${data}_lmdb" \
    >/dev/null # it would name the options for the whole data set

phase "Train"
options=(-opt "$repository/options/quickstart_$task.yml")
[[ -z $iterations ]] || options+=(--force_yml "train:total_iter=$iterations")
"$python" -m basicsr.train "${options[@]}"

phase "Restore photographs that it has not seen"
"$python" -m basicsr.test -opt "$repository/options/quickstart_${task}_test.yml"

phase "Result"
"$python" "$repository/scripts/quickstart_report.py" --data "datasets/$data/$test" \
    --results "results/quickstart_$task" --output "quickstart_$task.png"
phase "Time"
printf '%s' "$timings"
