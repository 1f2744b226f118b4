#!/usr/bin/env bash
# Sets nova up in .venv beside this script, and runs it. Every target may be repeated; none needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly venv=.venv

usage() {
    cat <<'TEXT'
usage: ./deploy.sh TARGET [ARGUMENT]...

  local   install nova, write NOVA_HOME/.env where there is none, and show the whole job: nova demo --quick
  test    install nova with what its tests need, and run them; arguments go to pytest (./deploy.sh test -k fleet)

PYTHON names the interpreter to make .venv with (default: the newest python3 of at least 3.11 on the PATH).
TEXT
}

say() { printf 'deploy.sh: %s\n' "$*" >&2; }

fail() {
    say "$1"
    shift
    if [ "$#" -gt 0 ]; then printf '  %s\n' "$@" >&2; fi
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
        if [ -n "${PYTHON:-}" ]; then break; fi
    done
    fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not that." \
        "Debian, Ubuntu: apt-get install python3 python3-venv" \
        "macOS: brew install python" \
        "or name one: PYTHON=/path/to/python3 ./deploy.sh ..."
}

make_venv() {
    if [ -x $venv/bin/python ] && new_enough $venv/bin/python; then return; fi
    local python
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "$python has no venv module." "Debian, Ubuntu: apt-get install python3-venv"
    say "making $venv with $python"
    "$python" -m venv --clear $venv || fail "$venv could not be made; the lines above say why."
}

# What an installation depends on. A change of any of it installs again; an interrupted one leaves no stamp.
checksum() { { pwd; $venv/bin/python -V; cat requirements-build.lock "$1" pyproject.toml; } | cksum; }

# $1: the locked requirements; $2: the stamp of an installation that holds these too, or the same.
install() {
    local lock=$1 wider=$2 stamp
    make_venv
    for stamp in "$lock" "$wider"; do
        if [ "$(cat "$venv/$stamp.stamp" 2>/dev/null)" = "$(checksum "$stamp")" ]; then return; fi
    done
    say "installing nova and ${lock}"
    rm -f $venv/*.lock.stamp
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    if ! {
        "${pip[@]}" --require-hashes --no-deps -r requirements-build.lock &&
            "${pip[@]}" --require-hashes --no-deps --no-build-isolation -r "$lock" &&
            "${pip[@]}" --no-deps --no-build-isolation --editable .
    }; then
        fail "the installation failed; the lines above say why." "Mend it and run ./deploy.sh again."
    fi
    checksum "$lock" >"$venv/$lock.stamp"
}

# Every command starts faster so, also where the environment keeps Python from writing what it compiled.
compile() { $venv/bin/python -m compileall -q nova platforms workers; }

write_settings() {
    local home
    home=$($venv/bin/python -m nova.config) || exit
    if [ -e "$home/.env" ]; then return; fi
    (umask 077 && cp .env.example "$home/.env.new" && mv "$home/.env.new" "$home/.env")
    say "wrote $home/.env: every setting, explained; all are optional"
}

case ${1:-} in
local)
    if [ "$#" -gt 1 ]; then
        usage >&2
        exit 2
    fi
    install requirements.lock requirements-test.lock
    compile
    write_settings
    $venv/bin/nova demo --quick
    say "done. Put nova on your PATH with: export PATH=\"$PWD/$venv/bin:\$PATH\""
    ;;
test)
    shift
    install requirements-test.lock requirements-test.lock
    compile
    exec $venv/bin/python -m pytest -n 2 --dist loadgroup "$@"
    ;;
docker | aws)
    say "the target $1 comes later; local and test are there"
    exit 2
    ;;
-h | --help | help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
