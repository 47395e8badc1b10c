"""Limits on the size of modules and subpackages."""

import pytest

MAX_LINES = 350
MAX_MODULES = 15
# Folders with one module per variant.
VARIANTS = {
    'calculators',
    'generation/kinds',
    'sampling/samplers',
    'exploration/montecarlo/moves',
    'labelling/labellers',
}


@pytest.fixture
def package(root):
    return root / 'aiida_mlip_autopipe'


def test_no_module_is_too_long(package):
    lengths = {str(path): len(path.read_text().splitlines()) for path in package.rglob('*.py')}
    assert lengths
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_no_subpackage_has_too_many_modules(package):
    subpackages = {
        path for path in package.rglob('*') if path.is_dir() and path.relative_to(package).as_posix() not in VARIANTS
    }
    modules = {
        str(folder): [path.name for path in folder.glob('*.py') if path.name != '__init__.py'] for folder in subpackages
    }
    assert {folder: len(names) for folder, names in modules.items() if len(names) > MAX_MODULES} == {}


def test_the_only_top_level_module_is_that_for_the_internals_of_aiida(package):
    assert {path.name for path in package.glob('*.py')} == {'__init__.py', 'aiida_internals.py'}
