# shellcheck shell=bash disable=SC2034
# What the other scripts share; sourced, not run. It leaves the shell in the package's folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# What Debian and its relatives call the libraries the package builds on, and its first data set.
readonly library_packages=(
  libopenblas-dev liblapacke-dev zlib1g-dev libturbojpeg0-dev libpng-dev pkg-config)
readonly data_packages=(dataset-fashion-mnist)

say() { printf '\n== %s\n' "$*" >&2; }

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Runs a command and says how long it took.
timed() {
  local title=$1 start=$SECONDS status=0
  shift
  say "$title"
  "$@" || status=$?
  printf '== %s: %d s%s\n' "$title" $((SECONDS - start)) \
    "$([ $status -eq 0 ] || printf ', failed')" >&2
  return $status
}

require_swift() {
  command -v swift >/dev/null \
    || fail "there is no swift in PATH; Swift 6.2 or later is needed, see https://www.swift.org/install"
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# Installs those of the named Debian packages that are missing, where that is allowed.
install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    if command -v pkg-config >/dev/null && pkg-config --exists openblas lapacke zlib libturbojpeg libpng; then
      return
    fi
    fail "this is not Debian; install OpenBLAS, LAPACKE, zlib, libjpeg-turbo and libpng with headers," \
      "and pkg-config (Fedora: dnf install openblas-devel lapack-devel zlib-devel turbojpeg-devel" \
      "libpng-devel pkgconf)"
  fi
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      fail "missing: ${missing[*]}; as root: apt-get update && apt-get install ${missing[*]}"
    fi
  fi
  command -v apt-get >/dev/null || fail "there is no apt-get to install ${missing[*]} with"
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
