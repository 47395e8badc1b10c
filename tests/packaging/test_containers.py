"""The definitions of the images. No image is built."""

import re
import subprocess
from pathlib import Path

import pytest

CONTAINERS = Path(__file__).parents[2] / 'containers'
NAMES = ('base', 'sevennet', 'mace', 'chgnet', 'gpaw')


def test_the_definitions_differ_only_in_the_name_of_the_calculator():
    """A definition file of Apptainer cannot include another file."""
    bodies = set()
    for name in NAMES:
        lines = (CONTAINERS / f'{name}.def').read_text().splitlines()
        assert sum(name in line for line in lines if not line.startswith('#')) == 2
        bodies.add('\n'.join(re.sub(rf'\b{name}\b', 'NAME', line) for line in lines if not line.startswith('#')))
    assert len(bodies) == 1


def test_the_containerfile_agrees_with_the_definition_for_apptainer():
    recipe = (CONTAINERS / 'Containerfile').read_text()
    definition = (CONTAINERS / 'base.def').read_text()
    for line in ('cp -r one_step.py models /opt/mlip/share/', '/opt/mlip/bin/python /opt/mlip/share/one_step.py'):
        assert line in recipe
        assert line in definition
    assert 'exec /opt/mlip/bin/python -m aiida_mlip_autopipe.exploration' in definition
    assert 'ENTRYPOINT ["/opt/mlip/bin/python", "-m", "aiida_mlip_autopipe.exploration"]' in recipe


@pytest.mark.parametrize(
    ('arguments', 'values'),
    [
        (('emt',), ("'emt'", *NAMES)),
        (('base', '--engine', 'buildah'), ('--engine', "'buildah'", 'apptainer', 'podman', 'docker')),
        (('base', '--device', 'tpu'), ('--device', "'tpu'", 'cpu', 'cuda')),
        (('base', '--wheel', '/nowhere.whl'), ("'/nowhere.whl'",)),
        (('base', '--engine'), ('--engine',)),
        (('base', '--gpu'), ("'--gpu'", '--help')),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_built(arguments, values):
    done = subprocess.run(['bash', CONTAINERS / 'build.sh', *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert all(value in done.stderr for value in values), done.stderr
    assert len(done.stderr.splitlines()) == 1
