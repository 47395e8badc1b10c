"""The rooms of the package stay small enough to be looked at: what `lint-imports` cannot count."""

import pytest

MAX_LINES = 350
MAX_MODULES = 15
# Folders of variants: one file for each.
VARIANTS = {'calculators', 'generation/kinds', 'sampling/samplers', 'exploration/montecarlo/moves'}


@pytest.fixture
def package(root):
    return root / 'aiida_mlip_autopipe'


def test_no_module_is_longer_than_a_reader_keeps_in_mind(package):
    lengths = {str(path): len(path.read_text().splitlines()) for path in package.rglob('*.py')}
    assert lengths
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_no_room_has_more_modules_than_are_seen_at_a_glance(package):
    rooms = {
        path for path in package.rglob('*') if path.is_dir() and path.relative_to(package).as_posix() not in VARIANTS
    }
    modules = {str(room): [path.name for path in room.glob('*.py') if path.name != '__init__.py'] for room in rooms}
    assert {room: len(names) for room, names in modules.items() if len(names) > MAX_MODULES} == {}


def test_the_package_itself_has_no_loose_module_but_the_one_for_what_is_private_in_aiida(package):
    assert {path.name for path in package.glob('*.py')} == {'__init__.py', 'aiida_internals.py'}
