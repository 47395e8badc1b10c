"""Random frames of a round: their roles, and the seeds whose frames must not be selected."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.export_dataset import export_dataset
from aiida_mlip_autopipe.calculations.rounds.draw_random_frames import draw_random_frames
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.selection import nodes_from_selection
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.sampling import Selection
from aiida_mlip_autopipe.storage import SplitSettings, split_rows
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

N_SEEDS, N_FRAMES = 24, 4


def make_seeds(kind: str = 'alloy', n: int = N_SEEDS) -> list[Seed]:
    """Return seeds, each two of which have the same parent."""
    seeds = []
    for number in range(n):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.1, seed=number)
        seeds.append(Seed(atoms, {'kind': kind, 'parent': f'{kind} {number // 2}'}))
    return seeds


def make_leg(seed: Seed, model: int) -> orm.TrajectoryData:
    rng = np.random.default_rng([model, int(seed.seed_id, 16)])
    trajectory = Trajectory(
        seed_id=seed.seed_id,
        numbers=seed.atoms.numbers,
        pbc=seed.atoms.pbc,
        steps=10 * np.arange(N_FRAMES),
        positions=seed.atoms.positions + rng.normal(scale=0.2, size=(N_FRAMES, 4, 3)),
        cells=np.repeat(seed.atoms.cell.array[None], N_FRAMES, axis=0),
        energies=rng.normal(size=N_FRAMES),
        forces=rng.normal(size=(N_FRAMES, 4, 3)),
        stresses=rng.normal(size=(N_FRAMES, 6)),
        temperatures=rng.uniform(200, 900, size=N_FRAMES),
    )
    about = {
        'ensemble': 'nvt',
        'calculator_name': 'emt',
        'model_name': None,
        'model_sha256': None,
        'versions': {'package': '1'},
        'environment': environment_of().model_dump(mode='json'),
    }
    node = node_from_trajectory(trajectory, about)
    job = orm.CalcFunctionNode().store()
    node.base.links.add_incoming(job, LinkType.CREATE, 'result')
    return node.store()


def draw(seeds: list[Seed], legs: list[orm.TrajectoryData], n_labels: int, **optional: orm.Data):
    return draw_random_frames.run_get_node(
        settings=orm.Dict({'n_labels': n_labels, 'round': 2 if optional else 1}),
        random_seed=orm.Int(3),
        groups=orm.Dict({seed.seed_id: seed.record['parent'] for seed in seeds}),
        kinds=orm.Dict({seed.seed_id: seed.record['kind'] for seed in seeds}),
        stage_version=orm.Str('test'),
        legs={f'leg{number}': leg for number, leg in enumerate(legs)},
        **optional,
    )


def export(drawn: orm.ArrayData, seeds: list[Seed], legs: list[orm.TrajectoryData]):
    """Export the drawn frames, and the first frame of each seed that may be selected."""
    allowed = [
        number for number, seed in enumerate(seeds) if seed.seed_id not in drawn.base.attributes.get('withheld_seeds')
    ]
    unknown = np.full(len(allowed), np.nan)
    zeros = np.zeros(len(allowed), dtype=int)
    chosen = Selection(np.array(allowed), zeros, unknown, unknown, (None,) * len(allowed), {})
    outputs, node = export_dataset.run_get_node(
        selection=nodes_from_selection(chosen, legs)['selection'].store(),
        drawn=drawn,
        campaign=orm.Dict({'name': 'rounds', 'config_hash': '1' * 64}),
        random_seed=orm.Int(3),
        stage_version=orm.Str('test'),
        legs={f'leg{number}': leg for number, leg in enumerate(legs)},
        seeds={f'seed{number}': SeedData.from_seed(seed).store() for number, seed in enumerate(seeds)},
    )
    assert node.is_finished_ok, node.exit_message
    return outputs['dataset']


@pytest.fixture(scope='module')
def first_round():
    seeds = make_seeds()
    legs = [make_leg(seed, 1) for seed in seeds]
    outputs, node = draw(seeds, legs, 8)
    assert node.is_finished_ok, node.exit_message
    return seeds, legs, outputs['drawn'], outputs['report'].get_dict()


@pytest.fixture(scope='module')
def first_dataset(first_round):
    seeds, legs, drawn, _ = first_round
    return export(drawn, seeds, legs)


def roles_of_groups(rows) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for row in rows:
        found.setdefault(row.key_value_pairs['parent'], set()).add(row.key_value_pairs.get('role'))
    return found


def test_half_of_the_groups_are_drawn_and_each_group_has_one_role(first_round):
    seeds, _, drawn, report = first_round
    parent = {seed.seed_id: seed.record['parent'] for seed in seeds}
    roles: dict[str, set[str]] = {}
    for seed_id, role in zip(*(drawn.base.attributes.get(name) for name in ('seed_ids', 'roles')), strict=True):
        roles.setdefault(parent[seed_id], set()).add(role)
    assert len(roles) == 6
    assert all(len(found) == 1 for found in roles.values())
    withheld = {parent[seed_id] for seed_id in drawn.base.attributes.get('withheld_seeds')}
    assert withheld == set(roles)
    assert report['n_selected'] == 8
    assert report['n_calibration'] + report['n_test'] == 8


def test_rows_have_the_role_the_round_and_the_set(first_dataset):
    rows = first_dataset.rows()
    found = {(row.provenance.role, row.provenance.split, row.provenance.round) for row in rows}
    assert found == {('test', 'test', 1), ('calibration', 'train', 1), (None, 'train', 1)}
    drawn = [row.provenance.rank for row in rows if row.provenance.role]
    selected = [row.provenance.rank for row in rows if not row.provenance.role]
    assert (drawn, selected) == (list(range(8)), list(range(len(rows) - 8)))


@pytest.mark.parametrize('settings', [{'by': 'stored'}, {'by': 'parent', 'valid_fraction': 0.2}])
def test_test_rows_are_in_the_test_set_of_every_split(first_dataset, settings):
    rows = first_dataset.rows()
    splits = split_rows(rows, SplitSettings(**settings), random_seed=5).splits
    assert {split for row, split in zip(rows, splits, strict=True) if row.provenance.role == 'test'} == {'test'}
    assert 'train' in splits


def test_a_group_keeps_its_role_in_the_next_round(first_round, first_dataset):
    seeds, _, _, _ = first_round
    legs = [make_leg(seed, 2) for seed in seeds]
    outputs, node = draw(seeds, legs, 8, reference_dataset=first_dataset)
    assert node.is_finished_ok, node.exit_message
    rows = export(outputs['drawn'], seeds, legs).rows()
    before, after = roles_of_groups(first_dataset.rows()), roles_of_groups(rows)
    tested = {group for group, roles in before.items() if roles == {'test'}}
    assert after
    for group, roles in after.items():
        assert roles == {'test'} if group in tested else 'test' not in roles
    parent = {seed.seed_id: seed.record['parent'] for seed in seeds}
    withheld = {parent[seed_id] for seed_id in outputs['drawn'].base.attributes.get('withheld_seeds')}
    assert tested <= withheld
    assert {row.provenance.round for row in rows} == {2}


def test_frames_of_earlier_rounds_are_not_drawn_again(first_round, first_dataset):
    seeds, legs, _, _ = first_round
    outputs, _ = draw(seeds, legs, 1000, reference_dataset=first_dataset)
    known = {(row.provenance.seed_id, row.provenance.step) for row in first_dataset.rows()}
    drawn = outputs['drawn']
    steps = zip(drawn.base.attributes.get('seed_ids'), drawn.get_array('step').tolist(), strict=True)
    assert not known & set(steps)
    assert outputs['report']['warnings']


def test_dimers_are_not_drawn():
    seeds = [*make_seeds(), *make_seeds('dimer')]
    outputs, _ = draw(seeds, [make_leg(seed, 1) for seed in seeds], 8)
    kind = {seed.seed_id: seed.record['kind'] for seed in seeds}
    assert {kind[seed_id] for seed_id in outputs['drawn'].base.attributes.get('seed_ids')} == {'alloy'}


def test_too_few_seeds_for_a_test_set_are_refused():
    seeds = make_seeds(n=4)
    _, node = draw(seeds, [make_leg(seed, 1) for seed in seeds], 8)
    assert node.exit_status == 400


def test_the_draw_depends_on_neither_the_order_nor_the_names_of_the_legs(first_round):
    seeds, legs, drawn, _ = first_round
    outputs, _ = draw(seeds, legs[::-1], 8)
    for name in ('trajectory_ids', 'roles', 'withheld_seeds'):
        assert outputs['drawn'].base.attributes.get(name) == drawn.base.attributes.get(name)
