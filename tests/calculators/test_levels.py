"""Two calculators have the same level of theory only if they compute the same numbers."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.levels import has_accurate_stress, level_of_calculator
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

SHA256 = 'a' * 64


def level(kind, model=None, *, model_sha256=None, version='1.0', sources=None, **settings):
    """Return the level of a calculator with complete settings, as a job has them."""
    loader = CALCULATORS.load(kind)
    file = {'model': 'm'} if 'model' in loader.settings_class.model_fields else {}
    content = loader.settings_class.model_validate({'kind': kind, **file, **settings}).model_dump(mode='json')
    precision = content.get('dtype', 'float64')
    return level_of_calculator(
        content, kind, model, model_sha256=model_sha256, precision=precision, version=version, sources=sources
    )


def mace(sha256=SHA256, **settings):
    return level('mace', 'mp0.model', model_sha256=sha256, **settings)


@pytest.mark.parametrize(
    ('other', 'field'),
    [
        (mace(dispersion=True), 'dispersion: false and true'),
        (mace('b' * 64), 'model_sha256: aaaaaaaaaaaa… and bbbbbbbbbbbb…'),
        (mace(head='omat'), 'head: none and omat'),
        (mace(dtype='float64'), 'precision: float32 and float64'),
    ],
)
def test_models_with_the_same_file_name_have_different_levels(other, field):
    assert mace().name == other.name == 'mlip:mace:mp0.model'
    assert mace().hash != other.hash
    assert field in mace().differences(other)


def test_settings_that_change_no_number_are_not_part_of_the_level():
    assert mace().hash == mace(device='cpu', cutoff_A=4.0, store_model=False, version='2.0').hash
    assert mace().hash == mace(dispersion_functional='pbesol').hash
    assert mace(dispersion=True).hash != mace(dispersion=True, dispersion_functional='pbesol').hash


def test_lennard_jones_potentials_that_differ_in_energy_differ_in_level():
    atoms = bulk('Ar', cubic=True)
    energies, hashes = [], []
    for settings in ({}, {'sigma_A': 3.3}, {'cutoff_A': 7.0}, {'epsilon_eV': 0.011}):
        loader = CALCULATORS.make(CALCULATORS.load('lj').settings_class(**settings))
        atoms.calc = loader.load().calculator
        energies.append(atoms.get_potential_energy())
        hashes.append(level('lj', **settings).hash)
    assert len(set(np.round(energies, 6))) == len(set(hashes)) == 4


def test_the_arguments_the_class_and_the_source_of_a_custom_calculator_are_part_of_its_level():
    def custom(**fields):
        fields = {'sources': {'my': SHA256}, 'cutoff_A': 5.0, 'calculator': 'my:A'} | fields
        return level('custom', fields['calculator'], **fields)

    others = [
        custom(parameters={'charge': 1}),
        custom(calculator='my:B'),
        custom(sources={'my': 'b' * 64}),
        custom(version='2.0'),
    ]
    assert len({custom().hash, *(one.hash for one in others)}) == 5
    assert custom(sources={'/home/me/lib.py': SHA256}).hash == custom(sources={'/elsewhere/lib.py': SHA256}).hash
    assert 'parameters.charge: none and 1' in custom().differences(others[0])


# An evaluation names the committee, and an exploration its first member.
@pytest.mark.parametrize('names', [('committee', 'emt'), ('emt', None)])
def test_the_level_of_a_committee_is_that_of_its_first_member(names):
    members = [{'kind': 'emt', 'cutoff_A': 6.6, 'device': 'cpu', 'dtype': 'float64'}, {'kind': 'lj'}]
    settings = {'kind': 'committee', 'members': members}
    found = level_of_calculator(settings, *names, precision='float64', version='ase 1.0, mace-torch 0.3')
    assert found.name == 'mlip:emt'
    assert found.hash == level('emt').hash
    custom = {'kind': 'committee', 'members': [*members, {'kind': 'custom', 'calculator': 'my:A'}]}
    others = level_of_calculator(custom, *names, precision='float64', version='ase 1.0', sources={'my': SHA256})
    assert others.hash == found.hash


def test_a_calculator_whose_settings_were_not_recorded_differs_from_every_known_one():
    unknown = level_of_calculator(None, 'mace', 'mp0.model', model_sha256=SHA256, precision='float32')
    assert 'settings: none and unknown' in mace().differences(unknown)


def test_sources_with_the_same_file_name_are_all_part_of_the_level():
    def with_sources(first, second):
        sources = {'a/lib.py': first * 64, 'b/lib.py': second * 64}
        return level('custom', 'my:A', sources=sources, calculator='my:A', cutoff_A=5.0).hash

    assert len({with_sources('1', '2'), with_sources('3', '2'), with_sources('1', '3')}) == 3
    assert with_sources('1', '2') == with_sources('2', '1')


def test_only_the_stress_of_hard_elements_at_a_low_cutoff_is_inaccurate():
    def is_accurate(atoms, code, **parameters):
        level = LevelOfTheory(method='dft', code=code, name='dft:x', parameters=parameters)
        return has_accurate_stress(atoms, level)

    assert not is_accurate(bulk('MgO', 'rocksalt', 4.2), 'gpaw', plane_wave_cutoff_eV=500.0)
    assert is_accurate(bulk('MgO', 'rocksalt', 4.2), 'gpaw', plane_wave_cutoff_eV=700.0)
    assert is_accurate(bulk('Si'), 'gpaw', plane_wave_cutoff_eV=400.0)
    # The pseudopotentials of other codes need other cutoffs.
    assert is_accurate(bulk('MgO', 'rocksalt', 4.2), 'espresso', plane_wave_cutoff_eV=500.0)
