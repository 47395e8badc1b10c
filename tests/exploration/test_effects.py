"""Each setting changes the inputs of a job or is refused."""

from __future__ import annotations

import types
import typing
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from pydantic import BaseModel, ValidationError
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES
from aiida_mlip_autopipe.exploration.settings.job_settings import split_settings
from aiida_mlip_autopipe.exploration.settings.kinds import KINDS, read_exploration
from aiida_mlip_autopipe.exploration.suitability import check_suitability
from aiida_mlip_autopipe.structures.seed import Seed

NOVELTY = {'kind': 'disagreement', 'threshold_eV_per_A': 0.1, 'limit_eV_per_A': 1.0, 'on_limit': 'cool'}
DISTANCE = {'kind': 'distance', 'threshold': 0.1, 'limit': 1.0, 'on_limit': 'cool'}
# The values to which a field is changed, if the type does not give one.
VALUES = {
    'phases': [{'n_steps': 7}],
    'monte_carlo': {'moves': [{'kind': 'displacement'}]},
    'moves': [{'kind': 'volume'}],
    'sublattices': {'a': ['Cu', 'Au']},
    'temperature_K': 310.0,
    'pressure_GPa': 1.5,
}
# Settings in which each nested model is used.
CONTEXTS = {
    'monte_carlo': {'monte_carlo': {'moves': [{'kind': 'swap'}, {'kind': 'displacement'}]}},
    'phases': {'phases': [{'kind': 'ramp', 'n_steps': 9, 'temperature_K': 500}, {'n_steps': 5}]},
    'relaxation': {'relaxation': {}},
    'novelty': {'novelty': NOVELTY},
    'bias': {'bias': {'strength': 1.0}},
    'tension_GPa': {'cell': 'flexible', 'tension_GPa': {'xx': 0.5}},
}


def other_value(name: str, field: Any, current: Any) -> Any:
    """Return a valid value that differs from the current one."""
    if name in VALUES:
        return VALUES[name]
    options = [field.annotation, *typing.get_args(field.annotation)]
    for option in options:
        if typing.get_origin(option) is typing.Literal:
            return next((one for one in typing.get_args(option) if one != current), None)
    if bool in options:
        return not current
    if not {int, float} & set(options):
        return {}
    limits = {type(one): one for one in field.metadata}
    low = limits[Gt].gt if Gt in limits else limits[Ge].ge if Ge in limits else 0
    high = limits[Lt].lt if Lt in limits else limits[Le].le if Le in limits else low + 5
    if int in options:
        return low + 3 if low + 3 != current else low + 4
    return low + 0.3 * (high - low)


def models_of(field: Any) -> list[type[BaseModel]]:
    """Return the models in the type of a field."""
    found, todo = [], [field.annotation]
    while todo:
        one = todo.pop()
        if isinstance(one, type) and not isinstance(one, types.GenericAlias) and issubclass(one, BaseModel):
            found.append(one)
        todo += [arg for arg in typing.get_args(one) if arg is not Ellipsis]
    return found


def changes(model: type[BaseModel], content: dict[str, Any], path: str = '') -> typing.Iterator[tuple[str, Any]]:
    """Yield the path and the changed settings for each field, at any depth."""
    for name, field in model.model_fields.items():
        place = f'{path}.{name}'.lstrip('.')
        value = other_value(name, field, content.get(name, field.default))
        if value != {}:
            yield place, {**content, name: value}
        context = {**content, **CONTEXTS.get(name, {})}
        for nested in models_of(field):
            if name in ('temperature_K', 'pressure_GPa'):
                yield f'{place}.range', {**content, name: {'min': 1.0, 'max': 2.0}}
                continue
            if name == 'novelty':
                given = {'distance': DISTANCE, 'disagreement': NOVELTY}[nested.model_fields['kind'].default]
                for where, changed in changes(nested, given, place):
                    yield f'{given["kind"]}: {where}', {**content, name: changed}
                continue
            if name == 'moves':
                kind = nested.model_fields['kind'].default
                for where, changed in changes(nested, {'kind': kind}, place):
                    yield f'{kind}: {where}', {**content, name: [changed, {'kind': 'displacement', 'weight': 5}]}
                continue
            given = context.get(name) or {}
            listed = isinstance(given, list)
            for where, changed in changes(nested, dict(given[0] if listed else given), place):
                yield where, {**context, name: [changed, *given[1:]] if listed else changed}


def all_changes() -> list[tuple[str, str, dict[str, Any]]]:
    return [(kind, path, changed) for kind, model in KINDS.items() for path, changed in changes(model, {'kind': kind})]


@pytest.mark.parametrize(
    ('kind', 'path', 'changed'), [pytest.param(*one, id=f'{one[0]} {one[1]}') for one in all_changes()]
)
def test_a_changed_setting_changes_the_inputs_of_a_job_or_is_refused(kind, path, changed):
    if path == 'kind':
        return
    top = path.rpartition(': ')[2].split('.')[0]
    base = {'kind': kind, **(CONTEXTS.get(top, {}) if '.' in path else {})}
    try:
        settings = read_exploration(changed)
    except ValidationError:
        return
    assert split_settings(settings) != split_settings(read_exploration(base))


def test_the_changes_cover_all_models():
    paths = [path for kind, path, _ in all_changes() if kind == 'dynamics']
    assert {
        'guards.interval',
        'recovery.max_recoveries',
        'phases.sampled',
        'relaxation.max_steps',
        'disagreement: novelty.on_limit',
        'distance: novelty.threshold',
        'distance: novelty.descriptor.r_cut_A',
        'bias.strength',
    } <= set(paths)
    assert {f'{kind}: monte_carlo.moves.weight' for kind in MOVES} <= set(paths)


RAMP = {'kind': 'ramp', 'n_steps': 9, 'temperature_K': 500}
UNUSED = [
    {'ensemble': 'nve', 'phases': [RAMP]},
    {'ensemble': 'nve', 'phases': [{'n_steps': 9, 'temperature_K': 500}]},
    {'ensemble': 'nve', 'thermostat': 'bussi'},
    {'ensemble': 'nve', 'thermostat_time_fs': 50},
    {'ensemble': 'nve', 'barostat_time_fs': 50},
    {'ensemble': 'nve', 'pressure_GPa': 1},
    {'ensemble': 'nvt', 'pressure_GPa': [0, 1]},
    {'ensemble': 'nvt', 'pressure_GPa': {'min': 0, 'max': 1}},
    {'ensemble': 'nvt', 'phases': [{'n_steps': 9, 'pressure_GPa': 1}]},
    {'ensemble': 'nvt', 'barostat_time_fs': 50},
    {'ensemble': 'nvt', 'vacuum_A': 5},
    {'ensemble': 'npt', 'thermostat': 'bussi'},
    {'ensemble': 'nve', 'cell': 'flexible'},
    {'ensemble': 'nvt', 'cell': 'in_plane'},
    {'ensemble': 'nvt', 'cell': 'flexible', 'tension_GPa': {'xx': 1}},
    {'ensemble': 'npt', 'tension_GPa': {'xx': 1}},
    {'tension_GPa': {'xx': 1}},
    {'cell': 'anisotropic', 'tension_GPa': {'xx': 1, 'yz': 1}},
    {'guards': {'width_factor': 0.8}},
    {'ensemble': 'nvt', 'guards': {'angle_change_deg': None}},
    {'cell': 'anisotropic', 'guards': {'angle_change_deg': 10}},
    {'n_steps': 10, 'phases': [{'n_steps': 9}]},
    {'pressure_GPa': 1, 'phases': [{'n_steps': 9, 'pressure_GPa': 2}]},
    {'guards': {'check_temperature': False, 'temperature_K': 900}},
    {'guards': {'distance_factor': None, 'detached_factor': None, 'interval': 3}},
    {'recovery': {'max_recoveries': 0, 'temperature_factor': 0.5}},
    {'monte_carlo': {'moves': [{'kind': 'swap', 'weight': 2}]}},
    {'monte_carlo': {'moves': [{'kind': 'swap', 'partners': 'any', 'sublattices': {'a': ['Cu', 'Au']}}]}},
    {'ensemble': 'nve', 'novelty': NOVELTY},
    {'novelty': {'kind': 'disagreement', 'threshold_eV_per_A': 1, 'on_limit': 'cool'}},
    {'novelty': NOVELTY | {'on_limit': 'stop', 'cooling_factor': 0.4}},
    {'novelty': {'kind': 'distance', 'threshold': 0.1, 'cooling_factor': 0.4}},
    {'monte_carlo': {'moves': [{'kind': 'displacement'}], 'adapt': True}},
    {'n_equilibration_steps': 9, 'monte_carlo': {'moves': [{'kind': 'displacement'}], 'adapt': True}},
    {
        'phases': [{'n_steps': 9, 'sampled': False}, {'n_steps': 9}],
        'monte_carlo': {'moves': [{'kind': 'displacement'}], 'adapt': True},
    },
    {'n_equilibration_steps': 10, 'monte_carlo': {'moves': [{'kind': 'swap'}], 'adapt': True}},
    {'kind': 'relax', 'degrees': 'positions', 'pressure_GPa': 1},
    {'kind': 'relax', 'degrees': 'normal', 'stress_GPa': 1},
    {'kind': 'relax', 'degrees': 'positions', 'vacuum_A': 5},
    {'kind': 'deform', 'plane': 'bc'},
    {'kind': 'deform', 'stress_GPa': 1},
    {'kind': 'deform', 'mode': 'shear', 'transverse': 'relaxed'},
    {'kind': 'deform', 'mode': 'volumetric', 'direction': 'b'},
]


def codes_of(settings: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read_exploration(settings)
    return [error['ctx']['code'] for error in caught.value.errors() if 'code' in error.get('ctx', {})]


@pytest.mark.parametrize('settings', UNUSED, ids=str)
def test_a_setting_without_effect_is_refused(settings):
    assert codes_of(settings) == [Code.VALUES_EXCLUDE]


@pytest.mark.parametrize(
    ('settings', 'code'),
    [
        ({'phases': [{'kind': 'ramp', 'n_steps': 9}]}, Code.VALUES_INCOMPLETE),
        ({'novelty': NOVELTY | {'limit_eV_per_A': 0.1}}, Code.OUT_OF_RANGE),
        ({'cell': 'flexible', 'tension_GPa': {}}, Code.VALUES_INCOMPLETE),
        ({'novelty': DISTANCE | {'limit': 0.05}}, Code.OUT_OF_RANGE),
        ({'n_steps': 5, 'monte_carlo': {'moves': [{'kind': 'swap'}]}}, Code.OUT_OF_RANGE),
        ({'kind': 'deform', 'strain_per_step': 0}, Code.OUT_OF_RANGE),
        ({'kind': 'deform', 'strain_per_step': -0.1, 'n_steps': 10}, Code.OUT_OF_RANGE),
        ({'kind': 'deform', 'direction': [0, 0, 0]}, Code.OUT_OF_RANGE),
        ({'kind': 'normal_modes', 'temperature_K': 0}, Code.OUT_OF_RANGE),
        ({'kind': 'normal_modes', 'temperature_K': {'min': 0, 'max': 300}}, Code.OUT_OF_RANGE),
        ({'kind': 'normal_modes', 'temperature_K': []}, Code.WRONG_LENGTH),
    ],
)
def test_a_phase_or_a_round_without_effect_is_refused(settings, code):
    assert codes_of(settings) == [code]


@pytest.mark.parametrize(
    'settings',
    [
        {'ensemble': 'nve', 'phases': [{'n_steps': 9, 'temperature_K': 300}]},
        {'ensemble': 'nve', 'phases': [{'kind': 'velocity_reset', 'n_steps': 9, 'temperature_K': 900}]},
        {'pressure_GPa': 1, 'phases': [{'kind': 'ramp', 'n_steps': 9, 'pressure_GPa': 2}]},
        {'n_equilibration_steps': 10, 'monte_carlo': {'moves': [{'kind': 'displacement'}], 'adapt': True}},
        {
            'phases': [{'n_steps': 9}, {'n_steps': 9, 'sampled': False}, {'n_steps': 9}],
            'monte_carlo': {'moves': [{'kind': 'displacement'}], 'adapt': True},
        },
    ],
)
def test_a_setting_with_effect_is_accepted(settings):
    read_exploration(settings)


def warnings_of(settings, atoms, **record):
    return check_suitability(read_exploration(settings), Seed(atoms, record))


def test_settings_without_effect_in_the_chosen_ensemble_are_reported():
    crystal = bulk('Cu', cubic=True)
    settings = {'pressure_GPa': 1, 'thermostat': 'bussi', 'barostat_time_fs': 50}
    assert [one.split()[0] for one in warnings_of(settings, crystal)] == ['thermostat']
    found = [one.split()[0] for one in warnings_of(settings, crystal, form='slab')]
    assert found == ['barostat_time_fs', 'pressure_GPa']


def test_guards_without_effect_in_the_chosen_ensemble_are_reported():
    crystal = bulk('Cu', cubic=True)
    flexible = {'cell': 'flexible', 'guards': {'width_factor': 0.8, 'volume_factor': 3}}
    assert warnings_of(flexible, crystal) == []
    found = [one.split()[0] for one in warnings_of(flexible, crystal, kind='amorphous')]
    assert found == ['cell', 'guards.width_factor']
    for settings in (flexible, {'kind': 'relax', 'guards': {'volume_factor': 3}}):
        found = [one.split()[0] for one in warnings_of(settings, crystal, form='slab')]
        assert 'guards.volume_factor' in found


def test_a_cell_whose_shape_is_constant_for_a_seed_is_reported():
    settings = {'cell': 'flexible', 'tension_GPa': {'xx': 1}}
    crystal = bulk('Cu', cubic=True)
    assert warnings_of(settings, crystal, kind='alloy') == []
    for record in ({'form': 'slab'}, {'kind': 'amorphous'}, {'kind': 'defect', 'of': {'kind': 'amorphous'}}):
        assert [one.split()[0] for one in warnings_of(settings, crystal, **record)] == ['cell', 'tension_GPa']
    with refused(Code.ENSEMBLE_IMPOSSIBLE):
        warnings_of(settings | {'ensemble': 'npt'}, crystal, kind='amorphous')


def test_the_shape_of_a_molecular_crystal_may_change_but_not_that_of_a_packing_of_molecules():
    settings, atoms = {'ensemble': 'npt', 'cell': 'flexible'}, bulk('Ne', cubic=True)
    record = {'kind': 'molecular', 'molecular': True}
    assert warnings_of(settings, atoms, **record, spacegroup=225) == []
    found = warnings_of(settings | {'ensemble': 'auto'}, atoms, **record, spacegroup=225)
    assert [one.split()[0] for one in found] == ['cell']
    for kept in (record, {'molecular': True, 'kind': 'interface', 'substrate': {'spacegroup': 225}}):
        with refused(Code.ENSEMBLE_IMPOSSIBLE, 'flexible'):
            warnings_of(settings, atoms, **kept)


@pytest.mark.parametrize(('timestep_fs', 'warned'), [(5, True), (1.2, True), (1.0, False), (None, False)])
def test_a_time_step_that_is_too_long_for_hydrogen_is_reported(timestep_fs, warned):
    hydride = bulk('PdH', 'rocksalt', a=4.1)
    found = warnings_of({'timestep_fs': timestep_fs}, hydride)
    assert [' H,' in one for one in found] == [True] * warned
    hydride.set_constraint(FixAtoms([1]))
    assert warnings_of({'timestep_fs': timestep_fs}, hydride) == []


def test_the_time_step_is_named_as_the_cause_when_a_run_stops_at_once(job_folder, copper):
    guards = {'force_eV_per_A': 0.01}
    copper.rattle(0.05, seed=1)
    messages = []
    for timestep_fs in (9.0, 1.0):
        settings = {'n_steps': 20, 'timestep_fs': timestep_fs, 'guards': guards, 'ensemble': 'nvt'}
        messages.append(job_folder(str(timestep_fs)).write(copper, settings).run().message)
    assert ['9 fs' in message for message in messages] == [True, False]


@pytest.mark.parametrize(
    ('settings', 'fixed', 'code'),
    [
        ({}, False, Code.NOTHING_MOVES),
        ({}, True, Code.NOTHING_MOVES),
        ({'kind': 'relax'}, True, Code.NOTHING_MOVES),
        ({'kind': 'normal_modes'}, True, Code.NOTHING_MOVES),
        ({'kind': 'normal_modes'}, False, Code.NOTHING_MOVES),
        ({'kind': 'relax', 'degrees': 'cell'}, False, None),
        ({'kind': 'single_point'}, True, None),
    ],
)
def test_a_seed_in_which_nothing_can_move_is_refused_before_it_is_explored(settings, fixed, code):
    atoms = bulk('Cu')
    if fixed:
        atoms.set_constraint(FixAtoms([0]))
    if code is None:
        assert warnings_of(settings, atoms) == []
        return
    with refused(code):
        warnings_of(settings, atoms)


@pytest.mark.parametrize(
    ('settings', 'code'),
    [
        ({'ensemble': 'npt'}, Code.ENSEMBLE_IMPOSSIBLE),
        ({'kind': 'relax', 'degrees': 'cell'}, Code.ENSEMBLE_IMPOSSIBLE),
        ({'monte_carlo': {'moves': [{'kind': 'volume'}]}}, Code.MOVE_IMPOSSIBLE),
        ({'monte_carlo': {'moves': [{'kind': 'swap'}]}}, Code.MOVE_IMPOSSIBLE),
        ({'ensemble': 'npt', 'cell': 'flexible'}, Code.ENSEMBLE_IMPOSSIBLE),
        ({'cell': 'in_plane', 'monte_carlo': {'moves': [{'kind': 'volume'}]}}, Code.MOVE_IMPOSSIBLE),
    ],
)
def test_a_seed_that_its_exploration_does_not_allow_is_refused(settings, code):
    with refused(code):
        warnings_of(settings, bulk('Cu', cubic=True), form='slab')


def test_molecules_whose_atoms_would_be_swapped_are_refused():
    atoms = molecule('CO')
    atoms.set_tags(1)
    swap = {'monte_carlo': {'moves': [{'kind': 'swap', 'partners': 'any'}]}}
    assert warnings_of(swap, atoms) == []
    with refused(Code.MOVE_IMPOSSIBLE):
        warnings_of(swap, atoms, molecular=True)
