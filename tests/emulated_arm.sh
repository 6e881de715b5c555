#!/bin/sh
# Run a command of Python for arm64 on a machine that is not, under emulation:
#
#     tests/emulated_arm.sh FOLDER -m pytest tests/test_packing.py
#
# FOLDER is made if it does not exist: a user land of Debian's arm64 packages, and wheels for it.  Nothing is installed
# on the machine.  Wanted there: Debian (or what has its packages), qemu-user-static, and pip in $PYTHON (python3).
#
# What is emulated is QEMU_CPU, and kernels are compiled for NUMBA_CPU_NAME and NUMBA_CPU_FEATURES.  By default that is
# plain NEON; with vectors of 256 bits it is
#
#     QEMU_CPU=max,sve256=on,sve-default-vector-length=32 NUMBA_CPU_NAME=neoverse-v1 NUMBA_CPU_FEATURES=+neon,+sve
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mkdir -p "$1"
root=$(cd "$1" && pwd)
project=$(cd "$(dirname "$0")/.." && pwd)
shift
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || { echo "install qemu-user-static" >&2; exit 1; }

if [ ! -e "$root/user-land-is-complete" ]; then
    # apt with a state of its own: another architecture, on which nothing is installed.
    apt="$root/apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    : > "$apt/status"
    run_apt() {
        apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
            -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" "$@"
    }
    run_apt update
    run_apt install --yes --download-only --no-install-recommends python3 libgomp1 libstdc++6
    for package in "$apt"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$root"
    done
    rm -r "$apt"
    touch "$root/user-land-is-complete"
fi
# A symbolic link with an absolute target would lead out of the folder; qemu looks it up in there first.
python=$(readlink "$root/usr/bin/python3")

if [ ! -e "$root/site-is-complete" ]; then
    dependencies=$(sed -n 's/^dependencies = \[\(.*\)\]/\1/p' "$project/pyproject.toml" | tr -d '" ' | tr ',' ' ')
    "${PYTHON:-python3}" -m pip install --quiet --upgrade --target "$root/site" --only-binary :all: \
        --implementation cp --python-version "${python#python}" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        $dependencies scipy pytest pytest-xdist hypothesis
    touch "$root/site-is-complete"
fi

# Python takes its name from what it was called by: processes that tests start go through this file as well.
cat > "$root/usr/bin/emulated-python" <<END
#!/bin/sh
exec "$qemu" -L "$root" -0 "$root/usr/bin/emulated-python" "$root/usr/bin/$python" "\$@"
END
chmod +x "$root/usr/bin/emulated-python"

export QEMU_CPU="${QEMU_CPU-neoverse-n1}"
export NUMBA_CPU_NAME="${NUMBA_CPU_NAME-neoverse-n1}"
export NUMBA_CPU_FEATURES="${NUMBA_CPU_FEATURES-+neon}"
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR-$root/compiled}"
export PYTHONPATH="$project:$root/site"
exec "$root/usr/bin/emulated-python" "$@"
