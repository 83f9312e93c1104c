# Shared by the scripts beside it: a virtual environment of this checkout. Sourced, not run.

# venv EXTRAS: makes .venv and installs ccm with EXTRAS in it, once for each pyproject.toml.
venv() {
  python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed; name it with PYTHON=…, or install it first." >&2
    exit 1
  }
  stamp=.venv/.installed-$(cksum <pyproject.toml | tr ' ' -)-$1
  [ -e "$stamp" ] && return
  "$python" -m venv .venv >/dev/null 2>&1 || {
    echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
  }
  .venv/bin/python -m pip install --disable-pip-version-check -e ".$1" >.venv/pip.log 2>&1 || {
    echo "The packages could not be installed; is there a network? What pip said: .venv/pip.log" >&2
    exit 1
  }
  : >"$stamp"
}
