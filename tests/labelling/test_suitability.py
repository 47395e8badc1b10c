"""Settings of a labeller that do not suit the structures."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip_autopipe.calculators.kinds.emt import EMTSettings
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.labelling.suitability import (
    Explorer,
    describe_other_hubbard_U,
    find_unsuitable,
    labelling_warnings,
)


def with_moments(atoms, moment=1.0):
    atoms.set_initial_magnetic_moments([moment] * len(atoms))
    return atoms


def with_charges(atoms, *charges):
    atoms.set_initial_charges(charges)
    return atoms


IRON = GPAWSettings(spin_polarized=True, initial_magnetic_moments={'Fe': 2.5})


@pytest.mark.parametrize(
    ('structures', 'settings'),
    [
        ([bulk('Si'), bulk('Cu')], GPAWSettings()),
        ([bulk('Fe')], GPAWSettings(spin_polarized=False)),
        ([bulk('Fe'), bulk('Si')], IRON),
        ([with_moments(bulk('Ni'))], GPAWSettings(spin_polarized=True)),
        # Dimers are always spin-polarised.
        ([Atoms('Fe2', [[0, 0, 0], [0, 0, 2.0]])], GPAWSettings()),
        ([with_charges(bulk('MgO', 'rocksalt', 4.2), 2.0, -2.0)], GPAWSettings()),
        ([with_charges(bulk('MgO', 'rocksalt', 4.2), 3.0, -2.0)], GPAWSettings(charge=0.0)),
        ([bulk('Ni')], EMTSettings()),
    ],
)
def test_suitable_settings_have_no_faults(structures, settings):
    assert find_unsuitable(structures, settings) == []


@pytest.mark.parametrize(
    ('structures', 'settings', 'code', 'path', 'hint'),
    [
        ([bulk('Si'), Atoms('Pu')], GPAWSettings(), Code.ELEMENT_UNSUPPORTED, 'labelling.kind', 'Pu'),
        ([bulk('Fe')], EMTSettings(), Code.ELEMENT_UNSUPPORTED, 'labelling.kind', 'Fe'),
        ([bulk('Si'), bulk('Fe')], GPAWSettings(), Code.VALUES_INCOMPLETE, 'labelling.spin_polarized', '{Fe: 4}'),
        ([with_moments(bulk('V'))], GPAWSettings(), Code.VALUES_INCOMPLETE, 'labelling.spin_polarized', 'true'),
        (
            [bulk('Fe'), with_moments(bulk('Ni'), 0.0)],
            IRON,
            Code.VALUES_INCOMPLETE,
            'labelling.initial_magnetic_moments',
            '{Ni: 2}',
        ),
        (
            [with_charges(bulk('MgO', 'rocksalt', 4.2), 3.0, -2.0)],
            GPAWSettings(),
            Code.VALUES_INCOMPLETE,
            'labelling.charge',
            'formal charges',
        ),
    ],
)
def test_unsuitable_settings_name_the_place_and_what_is_allowed(structures, settings, code, path, hint):
    (fault,) = find_unsuitable(structures, settings)
    assert (fault.code, fault.path) == (code, path)
    assert hint in fault.allowed


SEVENNET = Explorer('sevennet', '7net-0')


@pytest.mark.parametrize(
    ('explorers', 'settings', 'is_reported'),
    [
        ([SEVENNET], GPAWSettings(), True),
        ([Explorer('emt', None), SEVENNET], GPAWSettings(), True),
        ([SEVENNET], GPAWSettings(hubbard_U_eV={'Ni': {'d': 5.0}}), True),
        ([SEVENNET], GPAWSettings(hubbard_U_eV={'Ni': {'d': 6.2}}), False),
        ([Explorer('chgnet', 'r2scan')], GPAWSettings(), False),
        ([Explorer('sevennet', '7net-mf-0', 'R2SCAN')], GPAWSettings(), False),
        # A label by another potential has no U.
        ([SEVENNET], EMTSettings(), False),
    ],
)
def test_U_values_that_differ_from_those_of_the_training_data_are_reported(explorers, settings, is_reported):
    text = describe_other_hubbard_U([{'Ni', 'O'}, {'Fe'}], explorers, settings)
    assert (text is not None) is is_reported
    if text is not None:
        assert text.endswith('labelling.hubbard_U_eV: {Ni: {d: 6.2}}')


OXIDE, SILICON = bulk('MgO', 'rocksalt', 4.2), bulk('Si')


@pytest.mark.parametrize(
    ('structures', 'settings', 'words'),
    [
        ([SILICON, OXIDE], GPAWSettings(preset='fast'), [('labels.plane_wave_cutoff_eV', '400', ' O ', '700')]),
        ([bulk('BN', 'zincblende', 3.6)], GPAWSettings(plane_wave_cutoff_eV=600), [('600', ' N ', '700')]),
        ([SILICON, OXIDE], GPAWSettings(), []),
        ([SILICON], GPAWSettings(preset='fast'), []),
        # A molecule has no stress anyway.
        ([Atoms('O2', [[0, 0, 0], [0, 0, 1.2]])], GPAWSettings(preset='fast'), []),
        ([OXIDE], EMTSettings(), []),
        ([bulk('NiO', 'rocksalt', 4.2)], GPAWSettings(), [('7net-0', '{Ni: {d: 6.2}}')]),
        ([bulk('NiO', 'rocksalt', 4.2)], GPAWSettings(preset='fast'), [('7net-0',), (' O ',)]),
    ],
)
def test_labels_without_stress_and_different_U_values_give_warnings(structures, settings, words):
    found = labelling_warnings(structures, [SEVENNET], settings, place='labels')
    assert len(found) == len(words)
    for text, expected in zip(found, words, strict=True):
        assert [word for word in expected if word not in text] == []
