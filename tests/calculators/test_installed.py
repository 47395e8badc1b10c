import pytest

from aiida_mlip_autopipe import calculators
from aiida_mlip_autopipe.calculators import CALCULATORS, installed_calculators

MODULES = {'sevennet': 'sevenn', 'mace': 'mace', 'chgnet': 'chgnet', 'gpaw': 'gpaw'}


@pytest.fixture
def only_installed(monkeypatch):
    """Return a function that hides all other modules."""

    def install(*modules):
        monkeypatch.setattr(calculators, 'find_spec', lambda name: name if name in modules else None)

    return install


@pytest.mark.parametrize('kind', MODULES)
def test_a_calculator_is_found_by_its_module(only_installed, kind):
    only_installed('ase', MODULES[kind])
    assert installed_calculators() == [one for one in CALCULATORS if one in ('emt', 'lj', kind)]


def test_a_custom_calculator_and_a_committee_are_never_listed(only_installed):
    only_installed('ase', *MODULES.values())
    assert set(CALCULATORS) - set(installed_calculators()) == {'committee', 'custom'}
