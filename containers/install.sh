#!/bin/sh
# Install the wheel of this package and one calculator in /opt/mlip; runs during the build of an image.
# install.sh CALCULATOR DEVICE COMMIT, in the folder of the wheel and the constraints. CALCULATOR: base, sevennet, mace,
# chgnet, gpaw. DEVICE: cpu, cuda. Packages of the base image are kept, so a base image with all packages needs no
# network.
set -eu
calculator=$1 device=$2 commit=$3

python=/opt/mlip/bin/python
[ -x $python ] || python3 -m venv /opt/mlip
install() { $python -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore "$@"; }

constraints=constraints.txt extra="[$calculator]"
case $calculator in
base) extra= ;;
mace) constraints=constraints-mace.txt ;;
esac

# PyPI has torch for CUDA; the index of PyTorch has torch for CPUs, which is a tenth of the size.
install_torch() {
    torch=$(grep '^torch==' $constraints)
    case $device in
    cpu) install --index-url https://download.pytorch.org/whl/cpu "$torch" ;;
    cuda) install "$torch" ;;
    *) echo "the device must be cpu or cuda, not '$device'" >&2 && exit 1 ;;
    esac
}

# PyPI has only the source of GPAW. The compiler and the headers are removed after the build; the libraries are kept.
install_gpaw() {
    packages='gcc libc6-dev libxc-dev libopenblas-dev'
    [ -e "$($python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || packages="$packages python3-dev"
    export DEBIAN_FRONTEND=noninteractive GPAW_CONFIG="$PWD/gpaw_siteconfig.py"
    apt-get update -qq
    # shellcheck disable=SC2086  # words
    apt-get install -qq --yes --no-install-recommends $packages >/dev/null
    install --constraint $constraints gpaw
    module=$($python -c 'import _gpaw; print(_gpaw.__file__)')
    ldd "$module" | awk '/=> \// {print $3}' | xargs realpath | xargs dpkg-query --search 2>/dev/null |
        cut -d: -f1 | sort -u | xargs apt-mark manual >/dev/null
    # shellcheck disable=SC2086  # words
    apt-get purge -qq --yes --auto-remove $packages >/dev/null
    rm -rf /var/lib/apt/lists/*
}

has() { $python -c "import $1" 2>/dev/null; }
case $calculator in
sevennet | mace | chgnet) has torch || install_torch ;;
gpaw) has gpaw || install_gpaw ;;
esac
install --constraint $constraints "$(ls ./*.whl)$extra"

# The labels that `apptainer inspect` shows.
[ -z "${APPTAINER_LABELS:-}" ] || $python - "$calculator" "$commit" >>"$APPTAINER_LABELS" <<'PYTHON'
import sys
from importlib.metadata import version

calculator, commit = sys.argv[1:]
packages = {
    'base': (),
    'sevennet': ('sevenn', 'torch'),
    'mace': ('mace-torch', 'torch'),
    'chgnet': ('chgnet', 'torch'),
    'gpaw': ('gpaw', 'gpaw-data'),
}
print('calculator', 'emt' if calculator == 'base' else calculator)
print('commit', commit)
for package in ('aiida-mlip-autopipe', 'ase', *packages[calculator]):
    print(f'{package}.version', version(package))
PYTHON
