"""The U values of the Materials Project, and the potentials that were trained with them."""

from __future__ import annotations

from pathlib import Path

import pymatgen.io.vasp
import pytest
import yaml

from aiida_mlip_autopipe.calculators.kinds import chgnet, sevennet
from aiida_mlip_autopipe.calculators.materials_project import (
    HUBBARD_U_EV,
    LIGANDS,
    describe_missing_U,
    missing_hubbard_U,
    used_hubbard_U,
)


def test_the_values_are_those_with_which_pymatgen_prepares_calculations_of_the_materials_project():
    sets = yaml.safe_load((Path(pymatgen.io.vasp.__file__).parent / 'MPRelaxSet.yaml').read_text())
    assert sets['INCAR']['LDAUU'] == dict.fromkeys(LIGANDS, HUBBARD_U_EV)


@pytest.mark.parametrize(
    ('kind', 'model', 'fidelity', 'expected'),
    [
        ('sevennet', '7net-0', None, True),
        ('sevennet', '7net-mf-0', 'PBE', True),
        ('sevennet', '7net-mf-0', 'R2SCAN', False),
        ('sevennet', 'checkpoint_best.pth', None, False),
        ('chgnet', '0.3.0', None, True),
        ('chgnet', 'r2scan', None, False),
        ('mace', '/models/mace-mpa-0-medium.model', None, True),
        ('mace', '2023-12-03-mace-128-L1_epoch-199.model', None, True),
        ('mace', 'mace-mp-0b3-medium.model', None, True),
        ('mace', 'MACE-matpes-r2scan-omat-ft.model', None, False),
        ('mace', 'mace-off23_small.model', None, False),
        ('emt', None, None, False),
    ],
)
def test_published_models_are_recognised_by_their_names(kind, model, fidelity, expected):
    assert used_hubbard_U(kind, model, fidelity) is expected


def test_all_shipped_models_but_those_of_r2scan_are_recognised():
    shipped = [('sevennet', name) for name in sevennet.SHIPPED] + [('chgnet', name) for name in chgnet.SHIPPED]
    assert [name for kind, name in shipped if not used_hubbard_U(kind, name)] == ['r2scan']


@pytest.mark.parametrize(
    ('compositions', 'given', 'missing'),
    [
        ([{'Ni', 'O'}, {'Fe', 'F'}], {}, {'Fe': 5.3, 'Ni': 6.2}),
        ([{'Ni', 'O'}], {'Ni': {'d': 6.2}}, {}),
        ([{'Ni', 'O'}], {'Ni': {'d': 4.0}}, {'Ni': 6.2}),
        ([{'Ni'}, {'Fe', 'S'}, {'Ti', 'O'}], {}, {}),
        # The oxide of another structure does not count.
        ([{'Ni', 'Al'}, {'Mg', 'O'}], {}, {}),
    ],
)
def test_oxides_and_fluorides_of_eight_metals_lack_a_value(compositions, given, missing):
    assert missing_hubbard_U(compositions, given) == missing


def test_the_notice_has_the_setting_that_gives_the_same_values():
    text = describe_missing_U('7net-0', {'Fe': 5.3, 'Ni': 6.2}, 'labelling.hubbard_U_eV')
    assert text.endswith('labelling.hubbard_U_eV: {Fe: {d: 5.3}, Ni: {d: 6.2}}')
