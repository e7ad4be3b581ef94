# What the commands of this folder share; they source it. Bash 3.2 or later.
# Messages and statuses are those of the Python commands: one line, 2 for bad input.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# The comment at the head of the command, which is its help text.
show_help() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# read_options "NAME..." ARGUMENT...: put the value of each --NAME VALUE into the variable NAME (- becomes _).
read_options() {
    local known=" $1 " name
    shift
    while (($#)); do
        name=${1#--}
        if [[ $1 == -h || $1 == --help ]]; then
            show_help
            exit 0
        fi
        [[ $1 == --* && $known == *" $name "* ]] || fail "option '$1' is not known; --help lists them"
        (($# > 1)) || fail "$1 needs a value"
        printf -v "${name//-/_}" %s "$2"
        shift 2
    done
}

# check_count NAME: the variable must hold a whole number from 1 up.
check_count() {
    [[ ${!1} =~ ^[1-9][0-9]*$ ]] || fail "--$1 is '${!1}'; expected a whole number from 1 up"
}

# find_python: make $python an absolute path, right after any cd, of a Python that is new enough.
find_python() {
    local found
    found=$(command -v "$python") || fail "--python: there is no program '$python'; give the path of a Python 3.10 or later"
    python=$(cd "$(dirname "$found")" && pwd)/$(basename "$found")
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "--python: $python is older than 3.10"
}

# task_facts TASK: set $task (short name), $full_name, $data, $test_data and $packer. Nothing need be installed for it.
task_facts() {
    local facts
    facts=$(PYTHONPATH=$repository "$python" -m mprnet_plugin.tasks "$1" short name data test_data packer)
    { read -r task && read -r full_name && read -r data && read -r test_data && read -r packer; } <<<"$facts"
}

# install VENV EXTRA: make a virtual environment with the plugin and one of its extras, as the README says, and set
# $python to its Python. Installs again only where the plugin's files have changed since.
install() {
    local venv=$1 extra=$2 stamp files
    stamp=$venv/installed-with-$extra
    files=$(cd "$repository" && find setup.py pyproject.toml ./*.pth ./*.start options scripts/install_host.py \
        mprnet_plugin lmdb_tools -type f ! -name '*.py[co]' -exec cksum {} + | LC_ALL=C sort)
    if [[ ! -f $stamp || $(<"$stamp") != "$files" ]]; then
        [[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
        rm -rf "$repository/build/lib" # what an earlier build left would get into the wheel
        "$venv/bin/python" "$repository/scripts/install_host.py" --quiet
        "$venv/bin/python" -m pip install --quiet "$repository[$extra]"
        printf '%s\n' "$files" >"$stamp"
    fi
    python=$(cd "$venv" && pwd)/bin/python
}

# make_pairs OPTION...: write the task's demo data into datasets/$data and pack it into datasets/${data}_lmdb.
make_pairs() {
    "$python" "$repository/scripts/make_demo_data.py" --output datasets --tasks "$task" --previews "$@"
    "$python" -m "lmdb_tools.$packer" --source "datasets/$data" --output "datasets/${data}_lmdb" \
        >/dev/null # it would name the options for the whole data set
}

# report RUN: restored pictures of the test run RUN in numbers, and before and after in RUN.png.
report() {
    "$python" "$repository/scripts/quickstart_report.py" --data "datasets/$data/$test_data" \
        --results "results/$1" --output "$1.png"
}
