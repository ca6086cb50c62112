#!/bin/sh
# Make a virtual environment and install Vedette into it, from a bare checkout.
#
#   packaging/bootstrap.sh VENV EXTRA     EXTRA: receiver | dev
#
# Needs Python 3.11 or newer with its venv module, and a package index. PYTHON=... names the
# interpreter; otherwise the newest that works is taken.
set -eu

venv=${1:?usage: packaging/bootstrap.sh VENV EXTRA}
extra=${2:?usage: packaging/bootstrap.sh VENV EXTRA}
log=$venv/install.log

say() { printf '%s\n' "$*"; }

die() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

how_to_install='
  Debian, Ubuntu   apt install python3 python3-venv
  RHEL, Fedora     dnf install python3.12        (or python3.11)
  Alpine           apk add python3 py3-pip
  macOS            brew install python@3.13

Then try again, or name an interpreter: make PYTHON=/path/to/python3.12 ...'

# A name on the PATH proves nothing: a version manager leaves names behind that only fail.
# So each candidate is run. Prints "old" or "bare" (no venv module) for what is not enough.
examine() {
    "$1" -c '
import sys
if sys.version_info < (3, 11):
    print("old %d.%d" % sys.version_info[:2])
else:
    try:
        import ensurepip, venv
        print("good")
    except ImportError:
        print("bare %d.%d" % sys.version_info[:2])
' 2>/dev/null || say broken
}

find_python() {
    old='' bare=''
    if [ -n "${PYTHON:-}" ]; then candidates=$PYTHON
    else candidates='python3.13 python3.12 python3.11 python3'; fi
    for candidate in $candidates; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        found=$(examine "$candidate")
        case $found in
            good) python=$candidate; return ;;
            old*) old="$candidate is Python ${found#old }" ;;
            bare*) bare="$candidate (Python ${found#bare })" ;;
        esac
    done
    if [ -n "$bare" ]; then
        die "$bare has no venv or ensurepip module, which Vedette's environment needs." \
            "Install what is missing:$how_to_install"
    elif [ -n "$old" ]; then
        die "Vedette needs Python 3.11 or newer; $old." "Install a newer one:$how_to_install"
    elif [ -n "${PYTHON:-}" ]; then
        die "PYTHON=$PYTHON does not run. Name a Python 3.11 or newer that does."
    fi
    die "No Python that runs was found; Vedette needs 3.11 or newer." "Install it:$how_to_install"
}

usable() {
    [ -x "$venv/bin/python" ] &&
        "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

install() {
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --retries 10 --timeout 30 --editable ".[$extra]" >"$log" 2>&1
}

cd "$(dirname "$0")/.."
if ! usable; then
    find_python
    say "creating $venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
    "$python" -m venv --clear "$venv"
fi

say "installing vedette[$extra] into $venv (the first time takes a minute; log: $log)"
attempt=1
until install; do
    if [ "$attempt" -ge 3 ]; then
        tail -n 20 "$log" >&2
        die "Installing failed $attempt times. The whole log is $log." \
            "If the package index cannot be reached, check the network and pip's configuration."
    fi
    say "attempt $attempt failed, trying again: $(tail -n 1 "$log")"
    sleep $((attempt * 5))
    attempt=$((attempt + 1))
done

# What the agent runs on: code without docstrings, compiled ahead. It also runs without that.
"$venv/bin/python" -m vedette.lean || say "the agent will take 5 MiB more memory"
