from importlib.metadata import EntryPoint

import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.core import registry
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.registry import Registry
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES
from aiida_mlip_autopipe.generation import GENERATORS
from aiida_mlip_autopipe.sampling import SAMPLERS

GROUP = GENERATORS.group
BUILTIN = {'alloy': 'aiida_mlip_autopipe.generation.kinds.alloy:AlloyGenerator'}


def registry_with(monkeypatch, name, value):
    monkeypatch.setattr(registry, 'entry_points', lambda group: [EntryPoint(name, value, group)])
    return Registry(GROUP, BUILTIN)


def test_an_entry_point_adds_a_kind(monkeypatch):
    kinds = registry_with(monkeypatch, 'mine', 'aiida_mlip_autopipe.generation.kinds.structures:StructuresGenerator')
    assert list(kinds) == ['alloy', 'mine']
    assert kinds.load('mine').__name__ == 'StructuresGenerator'


def test_an_unknown_kind_is_refused_and_the_known_kinds_are_listed():
    with refused(Code.KIND_UNKNOWN, 'generator', "'x'", 'alloy'):
        Registry(GROUP, BUILTIN).load('x')


def test_an_entry_point_must_not_have_the_name_of_a_built_in_kind(monkeypatch):
    with refused(Code.PLUGIN_BROKEN, "'alloy'", GROUP):
        list(registry_with(monkeypatch, 'alloy', 'elsewhere:Alloy'))


@pytest.mark.parametrize('value', ['no.such.module:Class', 'aiida_mlip_autopipe.generation.kinds.alloy:NoSuchClass'])
def test_the_error_names_a_broken_entry_point(monkeypatch, value):
    with refused(Code.PLUGIN_BROKEN, GROUP, "'mine'", value.partition(':')[0]):
        registry_with(monkeypatch, 'mine', value).load('mine')


@pytest.mark.parametrize(
    ('registered', 'kinds'),
    [
        (CALCULATORS, 'chgnet committee custom emt gpaw lj mace sevennet'),
        (
            GENERATORS,
            'adsorption alloy amorphous atom cluster covalent defect dimer dislocation formula grain_boundary '
            'interface intermetallic ion_conductor ionic layered molecular stacking_fault structures surface',
        ),
        (MOVES, 'displacement rotation swap translation vacancy volume'),
        (SAMPLERS, 'direct disagreement environment fps mix random stratified stride'),
    ],
    ids=['calculators', 'generators', 'moves', 'samplers'],
)
def test_each_module_of_a_folder_is_named_after_its_kind(registered, kinds):
    assert list(registered) == kinds.split()
    for kind in registered:
        assert registered.load(kind).settings_class.model_fields['kind'].default == kind
