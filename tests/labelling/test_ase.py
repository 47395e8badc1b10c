"""The settings of aiida-ase's calculators."""

import pytest
from ase.build import bulk, fcc111
from pydantic import TypeAdapter, ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import code_of
from aiida_mlip_autopipe.labelling import LABELLERS
from aiida_mlip_autopipe.labelling.labellers.ase import AseSettings
from aiida_mlip_autopipe.labelling.plugins.ase_script import packages_of, script_settings, version_lines

SECTIONS = TypeAdapter(LABELLERS.settings_union())
EMT = {'calculator': 'emt.EMT', 'level_name': 'mlip:emt'}


def settings(**fields):
    return AseSettings(**{**EMT, **fields})


def level(versions, **fields):
    return LABELLERS.make(SECTIONS.validate_python({'kind': 'ase', **EMT, **fields})).level(versions)


def test_the_level_contains_the_versions_the_calculator_and_all_its_parameters():
    first = level({'ase': '3.29.0'})
    assert (first.method, first.name, first.code) == ('mlip', 'mlip:emt', 'emt.EMT')
    assert first.hash == level({'ase': '3.29.0'}, code='python@localhost', stress=False, time_limit_s=9).hash
    others = [
        level({'ase': '3.30.0'}),
        level({'ase': '3.29.0'}, parameters={'asap_cutoff': True}),
        level({'ase': '3.29.0'}, energy='total'),
        level({'ase': '3.29.0'}, calculator='lj.LennardJones'),
        level({'ase': '3.29.0'}, kspacing_per_A=0.5),
    ]
    assert len({first.hash, *(one.hash for one in others)}) == 6


@pytest.mark.parametrize(
    ('fields', 'code'),
    [
        ({'calculator': 'EMT'}, Code.WRONG_PATTERN),
        ({'calculator': 'abinit'}, Code.WRONG_PATTERN),
        ({'level_name': 'abinit:pbe'}, Code.WRONG_PATTERN),
        ({'kspacing_per_A': 0.3, 'parameters': {'kpts': [1, 1, 1]}}, Code.VALUES_EXCLUDE),
        ({'isolated_atoms': True}, Code.CHOICE_UNKNOWN),
        ({'structures_per_job': 2}, Code.CHOICE_UNKNOWN),
    ],
)
def test_values_that_cannot_be_used_are_refused(fields, code):
    with pytest.raises(ValidationError) as refused:
        SECTIONS.validate_python({'kind': 'ase', **EMT, **fields})
    assert {code_of(details) for details in refused.value.errors()} == {code}


@pytest.mark.parametrize('what', ['magnetic_moments', 'charges'])
def test_structures_with_moments_or_charges_are_refused(what):
    atoms = bulk('Cu')
    getattr(atoms, f'set_initial_{what}')([1.0])
    with pytest.raises(AutopipeError) as refused:
        script_settings(atoms, settings())
    assert refused.value.code == Code.SETTINGS_REFUSED


def test_the_stress_is_computed_only_for_periodic_structures():
    cluster = bulk('Cu', cubic=True)
    cluster.pbc = False
    getters = [script_settings(atoms, settings())[0]['atoms_getters'] for atoms in (bulk('Cu'), cluster)]
    assert ['stress' in one for one in getters] == [True, False]
    assert 'stress' not in script_settings(bulk('Cu'), settings(stress=False))[0]['atoms_getters']


def test_the_mesh_of_k_points_has_one_point_across_a_vacuum():
    slab = fcc111('Cu', (1, 1, 3), vacuum=6.0, periodic=True)
    _, mesh = script_settings(slab, settings(kspacing_per_A=0.4))
    assert mesh[2] == 1 < mesh[0]
    assert script_settings(slab, settings())[1] is None


def test_the_versions_of_the_setups_of_gpaw_are_part_of_its_level():
    assert packages_of('gpaw') == ('ase', 'gpaw', 'gpaw-data')
    found = {}
    exec('\n'.join(version_lines('gpaw')), found)
    assert set(found['versions']) == set(packages_of('gpaw'))
