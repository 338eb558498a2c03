# Sourced by ./rehearse, ./test and ./ops: a virtual environment in .venv with the requirements files named in "$@".
# Does nothing when they are installed already. Never asks anything.

# pip compiles nothing, which takes longer than the rest of an installation: of what is used, each module is compiled
# once, at its first use.
unset PYTHONDONTWRITEBYTECODE

environment_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed. Install it (Debian: apt-get install python3 python3-venv), then run this again." >&2
    return 1
}

environment_ensure() {
    local python stamp wanted
    wanted=$(cat "$@" | sha256sum | cut -c1-64)
    stamp=.venv/.installed-$(echo "$*" | tr -c 'a-z.\n' _)
    [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    # One at a time: two runs in one checkout would install over each other.
    exec 9>.environment.lock
    flock 9
    if [ ! -x .venv/bin/pip ]; then
        python=$(environment_python) || return
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
                apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends python3-venv >/dev/null
            else
                echo "Python's venv module is missing. Install it (Debian: apt-get install python3-venv), then run this again." >&2
                return 1
            fi
        fi
        "$python" -m venv .venv || return
    fi
    echo "Installing ${*} into .venv (once) ..." >&2
    .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check "${@/#/--requirement=}" || return
    echo "$wanted" >"$stamp"
    exec 9>&-
}
