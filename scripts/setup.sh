# SPDX-License-Identifier: Apache-2.0
# Shared by scripts/run and scripts/test: finds what is missing, says how large it is, installs it, builds.
# Sourced, not run. Sets: source_dir, cache_dir, venv_dir. Callers set: no_install, engine_only.
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache_dir=${XDG_CACHE_HOME:-$HOME/.cache}/headroom
venv_dir=$cache_dir/venv
no_install=${no_install:-0}
engine_only=${engine_only:-0}

say() { printf '%s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

engine_packages=(g++ cmake ninja-build ccache libhdf5-dev nlohmann-json3-dev libcli11-dev libssl-dev libicu-dev
  libpcre2-dev python3 python3-venv ca-certificates unzip)
window_packages=(qt6-base-dev qt6-svg-dev libqcustomplot-dev libgl-dev fonts-dejavu-core)

# Debian packages among "$@" that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    fail "Root rights are needed to install packages, and there is no sudo: install them yourself: ${missing[*]}" 1
  fi
}

install_packages() {
  local wanted=("${engine_packages[@]}")
  [ "$engine_only" = 1 ] || wanted+=("${window_packages[@]}")
  command -v dpkg-query >/dev/null || { say "No dpkg here: make sure these are installed: ${wanted[*]}"; return; }
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$no_install" = 1 ]; then
    fail "Missing packages: ${missing[*]}
Install them with: apt-get install ${missing[*]}   (or run without --no-install)" 1
  fi
  as_root apt-get update -qq >&2 || say "apt-get update failed; going on with the lists at hand."
  say "Debian packages to install: ${missing[*]}"
  apt-get install --assume-no --no-install-recommends "${missing[@]}" 2>/dev/null |
    grep -E '^(Need to get|After this operation)' >&2 || true
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}" 1
}

# What LibTorch's CUDA 13 half needs of a driver and of a GPU (core/model/device.cpp says the same when it opens one).
needed_driver=580
needed_capability=7.5  # major.minor, one digit behind the point

# nvidia_smi FIELD: one line a GPU; nothing where the program fails, which it also tells on standard output.
nvidia_smi() {
  local answer
  answer=$(timeout 30 nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null) || return 1
  printf '%s\n' "$answer"
}

# Whether a GPU is there that CUDA 13 runs on; where one is there and cannot be used, a sentence says why.
gpu_ready() {
  command -v nvidia-smi >/dev/null || return 1
  local drivers driver names usable=0 name capability
  drivers=$(nvidia_smi driver_version) || drivers=$({ timeout 30 nvidia-smi 2>&1 || true; } | sed '/^[[:space:]]*$/d')
  driver=${drivers%%$'\n'*}
  if ! [[ $driver =~ ^[0-9]+(\.[0-9]+)*$ ]]; then
    say "nvidia-smi names no driver version (it says: \"${driver:-nothing}\"), so the GPU is left out and the CPU is" \
      "used."
    return 1
  fi
  if [ "${driver%%.*}" -lt "$needed_driver" ]; then
    say "NVIDIA driver $driver found; CUDA 13 needs $needed_driver or newer, so the GPU is left out. Update the driver" \
      "and run again."
    return 1
  fi
  names=$(nvidia_smi compute_cap,name) || names=
  while IFS= read -r name; do
    capability=${name%%,*}
    name=${name#*, }
    if ! [[ $capability =~ ^[0-9]+\.[0-9]$ ]]; then
      say "nvidia-smi names no compute capability of a GPU (it says: \"${capability:-nothing}\");" \
        "$needed_capability or newer is needed."
    elif ((10#${capability/./} >= 10#${needed_capability/./})); then
      usable=1
    else
      say "$name has compute capability $capability; LibTorch with CUDA 13 needs $needed_capability or newer."
    fi
  done <<<"$names"
  [ "$usable" = 1 ] && return 0
  say "No GPU that can be used, so the CPU is used."
  return 1
}

# install_wheels NAME SIZE: scripts/requirements/NAME.txt into the private environment, once for each content.
install_wheels() {
  local name=$1 size=$2 file=$source_dir/scripts/requirements/$1.txt stamp=$venv_dir/.headroom-$1
  local wanted
  wanted=$(sha256sum "$file" | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return 0
  [ "$no_install" = 1 ] &&
    fail "Missing Python wheels of scripts/requirements/$name.txt ($size) in $venv_dir: run without --no-install" 1
  say "Fetching wheels of scripts/requirements/$name.txt ($size) into $venv_dir"
  if [ ! -x "$venv_dir/bin/pip" ]; then
    mkdir -p "$cache_dir"
    /usr/bin/python3 -m venv "$venv_dir" || fail "Could not make the environment $venv_dir (package python3-venv?)" 1
  fi
  "$venv_dir/bin/python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' ||
    fail "python3 3.10 to 3.14 is needed, found $("$venv_dir/bin/python" -V)" 1
  "$venv_dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    -r "$file" ||
    fail "pip could not install scripts/requirements/$name.txt" 1
  printf '%s\n' "$wanted" >"$stamp"
}

# prepare [TARGET...]: everything but the model: packages, wheels, and the build of those targets, or of all where none
# is named.
prepare() {
  [ "$(uname -m)" = x86_64 ] || fail "Headroom runs on x86-64 Linux; this is $(uname -m)." 1
  install_packages
  install_wheels engine "0.53 GB download, 1.3 GB on disk"
  # Only chat templates that are not ChatML want these, and they say so where they are missing.
  [ "$no_install" = 1 ] || (install_wheels templates "0.2 MB download") ||
    say "Chat templates that are not ChatML cannot be rendered until jinja2 is there."
  if gpu_ready; then install_wheels cuda "2.0 GB download, 3.5 GB on disk"; fi
  local preset=default
  [ "$engine_only" = 1 ] && preset=engine
  say "Building in $source_dir/build"
  (cd "$source_dir" && cmake --preset "$preset" >"$source_dir/build.log" 2>&1 &&
    cmake --build build ${1:+--target "$@"} >>"$source_dir/build.log" 2>&1) ||
    { tail -n 40 "$source_dir/build.log" >&2; fail "The build failed; the whole output is in $source_dir/build.log" 1; }
  tail -n 1 "$source_dir/build.log" >&2
}
