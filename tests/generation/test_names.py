import subprocess
import sys

import pytest

from aiida_mlip_autopipe import generation


@pytest.mark.parametrize('name', generation.__all__)
def test_every_name_of_the_package_can_be_imported(name):
    assert getattr(generation, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match='no_such_name'):
        generation.no_such_name  # noqa: B018


def test_the_reports_are_merged_without_importing_the_generators():
    code = (
        'import sys\n'
        'from aiida_mlip_autopipe.generation import merge_reports\n'
        'print([name for name in ("ase", "numpy", "pydantic") if name in sys.modules])\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
