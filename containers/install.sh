#!/bin/sh
# Install the wheel of this package and one calculator in /opt/mlip; runs during the build of an image.
# install.sh CALCULATOR DEVICE COMMIT, in the folder of the wheel and the constraints. CALCULATOR: base, sevennet, mace,
# chgnet. DEVICE: cpu, cuda. Packages of the base image are kept, so a base image with all packages needs no network.
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
if [ "$calculator" != base ] && ! $python -c 'import torch' 2>/dev/null; then
    # PyPI has torch for CUDA; the index of PyTorch has torch for CPUs, which is a tenth of the size.
    torch=$(grep '^torch==' $constraints)
    case $device in
    cpu) install --index-url https://download.pytorch.org/whl/cpu "$torch" ;;
    cuda) install "$torch" ;;
    *) echo "the device must be cpu or cuda, not '$device'" >&2 && exit 1 ;;
    esac
fi
install --constraint $constraints "$(ls ./*.whl)$extra"

# The labels that `apptainer inspect` shows.
[ -z "${APPTAINER_LABELS:-}" ] || $python - "$calculator" "$commit" >>"$APPTAINER_LABELS" <<'PYTHON'
import sys
from importlib.metadata import version

calculator, commit = sys.argv[1:]
packages = {'base': (), 'sevennet': ('sevenn', 'torch'), 'mace': ('mace-torch', 'torch'), 'chgnet': ('chgnet', 'torch')}
print('calculator', 'emt' if calculator == 'base' else calculator)
print('commit', commit)
for package in ('aiida-mlip-autopipe', 'ase', *packages[calculator]):
    print(f'{package}.version', version(package))
PYTHON
