"""Every value of a row belongs to the selected frame."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from support.environments import environment_of
from support.errors import refused
from support.structures import assert_same_structure

from aiida_mlip_autopipe.calculations.export_dataset import export_dataset
from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.evaluation import node_from_evaluation
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.selection import nodes_from_selection
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.sampling import Selection
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.merge import merge_datasets
from aiida_mlip_autopipe.structures.disagreement import MEASURES, compare_labels
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

N_FRAMES = 4
# Leg and frame of each row; neither the legs nor the frames are sorted.
PICKS = [(3, 1), (0, 2), (2, 3), (1, 0), (0, 0), (3, 0), (1, 3), (2, 1)]
DISTANCES = [np.nan, 0.9, 0.7, 0.8, 0.55, 0.6, 0.45, 0.5]
GAINS = [12.0, np.nan, 7.0, 9.0, 3.0, 5.0, 1.0, 2.0]
SPLITS = ('train', 'valid', 'train', 'test', 'train', 'test', 'valid', 'train')


def make_seeds() -> list[Seed]:
    """Return three seeds with the same number of atoms that differ in everything else."""
    fixed = ([0, 1, 2], [5, 3], [])
    found = []
    for place, atoms in enumerate(
        (fcc111('Cu', (2, 2, 2), vacuum=5.0), *(bulk(x, cubic=True) * (2, 1, 1) for x in ('Au', 'Al')))
    ):
        rng = np.random.default_rng(place)
        atoms.set_tags(rng.permutation(8))
        atoms.set_initial_magnetic_moments(rng.normal(size=8))
        atoms.set_initial_charges(rng.normal(size=8))
        atoms.pbc = (True, True, place > 0)
        atoms.set_constraint(FixAtoms(fixed[place]) if fixed[place] else None)
        found.append(Seed(atoms, {'kind': ('surface', 'alloy', 'defect')[place], 'parent': f'parent{place}'}))
    return found


def make_leg(place: int, seed: Seed, first_step: int) -> Trajectory:
    """Return a leg in which each frame has unique values."""
    rng = np.random.default_rng(100 + place)
    n_atoms = len(seed.atoms)
    has_stress = seed.atoms.pbc.all()
    return Trajectory(
        seed_id=seed.seed_id,
        numbers=seed.atoms.numbers,
        pbc=seed.atoms.pbc,
        steps=first_step + 10 * (1 + np.arange(N_FRAMES)),
        positions=seed.atoms.positions + rng.normal(scale=0.1, size=(N_FRAMES, n_atoms, 3)),
        cells=seed.atoms.cell.array * rng.uniform(0.98, 1.02, size=(N_FRAMES, 1, 1)),
        energies=rng.normal(size=N_FRAMES),
        forces=rng.normal(size=(N_FRAMES, n_atoms, 3)),
        stresses=rng.normal(size=(N_FRAMES, 6)) if has_stress else np.full((N_FRAMES, 6), np.nan),
        temperatures=rng.uniform(200, 900, size=N_FRAMES),
        # One leg has no thermostat.
        extra={} if place == 2 else {'target_temperature_K': rng.uniform(200, 900, size=N_FRAMES)},
    )


def make_about(name: str) -> dict[str, Any]:
    """Return the result of a job, with unique values."""
    versions = {key: f'{key}-{name}' for key in ('ase', 'calculator', 'torch', 'numpy', 'scipy')}
    software = {**versions, 'sources': {f'model-{name}': f'source-{name}'}}
    return {
        'ensemble': f'ensemble-{name}',
        'calculator_name': f'architecture-{name}',
        'model_name': f'model-{name}',
        'model_sha256': f'sha256-{name}',
        'versions': {'package': f'package-{name}', **versions},
        'environment': environment_of().model_copy(update=software).model_dump(mode='json'),
        'precision': f'precision-{name}',
        'isolated_atom_energies_eV': {'Cu': -float(len(name)) - ord(name[-1])},
        'recoveries': 0,
    }


def stored(node: orm.Data, cached_from: str | None = None) -> orm.Data:
    """Return a stored node as the output of a job, which may come from the cache."""
    job = orm.CalcFunctionNode().store()
    if cached_from:
        job.base.extras.set(job.base.caching.CACHED_FROM_KEY, cached_from)
    node.base.links.add_incoming(job, LinkType.CREATE, 'result')
    return node.store()


@pytest.fixture(scope='module')
def campaign():
    """Return the seeds, the legs, their results, the job of each leg, the evaluations and the rows."""
    seeds = make_seeds()
    # The first two legs belong to the same seed.
    legs = [
        make_leg(place, seeds[seed], first) for place, (seed, first) in enumerate([(0, 0), (0, 40), (1, 0), (2, 0)])
    ]
    abouts = [make_about(f'leg{place}') for place in range(len(legs))]
    first_job = orm.CalcFunctionNode().store().uuid
    nodes = [
        stored(node_from_trajectory(leg, about), first_job if place == 1 else None)
        for place, (leg, about) in enumerate(zip(legs, abouts, strict=True))
    ]
    jobs = [first_job if place == 1 else node.creator.uuid for place, node in enumerate(nodes)]
    # A committee has evaluated two legs completely, and all but the last frame of another one.
    seconds = {0: _relabelled(legs[0], N_FRAMES), 3: _relabelled(legs[3], N_FRAMES), 1: _relabelled(legs[1], 3)}
    committee = {place: make_about(f'committee{place}') for place in seconds}
    evaluations = [
        stored(node_from_evaluation(legs[place], second, committee[place])) for place, second in seconds.items()
    ]
    chosen = Selection(
        trajectory_indices=np.array([leg for leg, _ in PICKS]),
        frame_indices=np.array([frame for _, frame in PICKS]),
        distances=np.array(DISTANCES),
        gains=np.array(GAINS),
        splits=SPLITS,
        report={},
    )
    selection = stored(nodes_from_selection(chosen, nodes)['selection'])
    outputs, node = export_dataset.run_get_node(
        selection=selection,
        campaign=orm.Dict({'name': 'rows', 'config_hash': '1' * 64}),
        random_seed=orm.Int(7),
        stage_version=orm.Str('test'),
        # The order and the labels have no meaning.
        legs={f'leg{number}': nodes[place] for number, place in enumerate((2, 0, 3, 1))},
        evaluations={f'evaluation{number}': one for number, one in enumerate(evaluations)},
        seeds={f'seed{number}': SeedData.from_seed(seeds[place]).store() for number, place in enumerate((1, 2, 0))},
    )
    assert node.is_finished_ok, node.exit_message
    with outputs['dataset'].as_path() as path, Dataset(path) as dataset:
        rows = list(dataset.query())
    return seeds, legs, abouts, jobs, seconds, committee, rows


def _relabelled(leg: Trajectory, n_frames: int) -> Trajectory:
    rng = np.random.default_rng(int(leg.steps[0]))
    return Trajectory(
        seed_id=leg.seed_id,
        numbers=leg.numbers,
        pbc=leg.pbc,
        steps=leg.steps[:n_frames],
        positions=leg.positions[:n_frames],
        cells=leg.cells[:n_frames],
        energies=leg.energies[:n_frames] + rng.normal(size=n_frames),
        forces=leg.forces[:n_frames] + rng.normal(size=(n_frames, len(leg.numbers), 3)),
        stresses=leg.stresses[:n_frames],
        temperatures=leg.temperatures[:n_frames],
    )


def expected_software(about: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        'architecture': about['calculator_name'],
        'model': about['model_name'],
        'model_sha256': about['model_sha256'],
        'package_version': about['versions']['package'],
        **{f'{name}_version': about['versions'][name] for name in ('ase', 'calculator', 'torch', 'numpy', 'scipy')},
        'environment': Environment.model_validate(about['environment']).identity,
        'source_sha256': f'source-leg{place}',
        'precision': about['precision'],
    }


def expected_provenance(campaign, rank: int) -> dict[str, Any]:
    """Return the expected provenance of a row, from the data that the nodes were made from."""
    _, legs, abouts, jobs, seconds, committee, _ = campaign
    place, frame = PICKS[rank]
    leg, about = legs[place], abouts[place]
    expected = {
        'campaign': 'rows',
        'random_seed': 7,
        'config_sha256': '1' * 64,
        'seed_id': leg.seed_id,
        'exploration': jobs[place],
        'step': leg.steps[frame],
        'temperature_K': leg.temperatures[frame],
        'target_temperature_K': None if place == 2 else leg.extra['target_temperature_K'][frame],
        'ensemble': about['ensemble'],
        'explored': expected_software(about, place),
        'labelled': expected_software(about, place),
        'label_source': f'mlip:architecture-leg{place}:model-leg{place}',
        'rank': rank,
        'distance': None if np.isnan(DISTANCES[rank]) else DISTANCES[rank],
        'gain': None if np.isnan(GAINS[rank]) else GAINS[rank],
        'split': SPLITS[rank],
        'committee': None,
        'committee_environment': None,
        **dict.fromkeys(MEASURES),
    }
    if place in seconds and frame < len(seconds[place]):
        about = committee[place]
        measures = compare_labels(legs[place], seconds[place])
        expected['committee'] = f'mlip:{about["calculator_name"]}:{about["model_name"]}'
        expected['committee_environment'] = Environment.model_validate(about['environment']).identity
        expected |= {name: values[frame] for name, values in measures.items()}
    return expected


def test_every_frame_of_the_test_data_has_unique_values(campaign):
    """Otherwise the other tests could not detect a row of another frame."""
    _, legs, abouts, jobs, *_ = campaign
    for values in (
        [leg.temperatures for leg in legs],
        [leg.energies for leg in legs],
        [leg.extra['target_temperature_K'] for leg in legs if leg.extra],
        [[value for value in DISTANCES if value == value]],
        [[value for value in GAINS if value == value]],
    ):
        together = np.concatenate(values)
        assert len(set(together)) == len(together)
    assert len(set(jobs)) == len(jobs) == len({about['model_name'] for about in abouts}) == len(legs)
    assert sorted(PICKS) != PICKS


@pytest.mark.parametrize('rank', range(len(PICKS)))
def test_a_row_has_the_provenance_of_the_selected_frame(campaign, rank):
    row = campaign[-1][rank]
    expected, found = expected_provenance(campaign, rank), row.provenance.model_dump()
    assert found == expected
    flat = {name: value for name, value in expected.items() if name not in ('explored', 'labelled')}
    searchable = {name: value for name, value in (flat | expected['labelled']).items() if value is not None}
    searchable['seed'] = f'seed-{searchable.pop("seed_id")}'
    for name in ('config_sha256', 'model_sha256', 'source_sha256'):
        searchable[name] = f'sha256:{searchable[name]}'
    assert {name: row.key_value_pairs.get(name) for name in searchable} == searchable


@pytest.mark.parametrize('rank', range(len(PICKS)))
def test_a_row_has_the_structure_and_the_labels_of_the_selected_frame(campaign, rank):
    seeds, legs, abouts, *_, rows = campaign
    place, frame = PICKS[rank]
    leg, row = legs[place], rows[rank]
    seed = next(seed for seed in seeds if seed.seed_id == leg.seed_id)
    expected: Atoms = seed.atoms.copy()
    expected.set_cell(leg.cells[frame])
    expected.set_positions(leg.positions[frame], apply_constraint=False)
    assert_same_structure(row.atoms, expected)
    assert row.labels['energy'] == leg.energies[frame]
    np.testing.assert_array_equal(row.labels['forces'], leg.forces[frame])
    if expected.pbc.all():
        np.testing.assert_array_equal(row.labels['stress'], leg.stresses[frame])
    else:
        assert 'stress' not in row.labels
    assert row.data['seed'] == seed.record
    assert (row.key_value_pairs['kind'], row.key_value_pairs['parent']) == tuple(seed.record.values())
    assert row.data['isolated_atoms'] == abouts[place]['isolated_atom_energies_eV']


def export_with(calculator: dict[str, Any], path: Path, element: str = 'Ar') -> None:
    """Write the dataset of a campaign with a leg whose job has a calculator as an input."""
    seed = Seed(bulk(element, 'fcc', a=5.3, cubic=True), {'kind': 'alloy', 'parent': 'argon'})
    leg, kind = make_leg(1, seed, 0), calculator['kind']
    about = make_about(kind) | {'calculator_name': kind, 'model_name': None, 'model_sha256': None}
    about['environment'] = environment_of({'kind': 'lj'}).model_dump(mode='json')
    settings = CALCULATORS.load(kind).settings_class.model_validate(calculator)
    job = orm.CalcJobNode(process_type='aiida.calculations:mlip_autopipe.explore')
    job.base.links.add_incoming(orm.Dict(settings.model_dump(mode='json')).store(), LinkType.INPUT_CALC, 'calculator')
    node = node_from_trajectory(leg, about)
    node.base.links.add_incoming(job.store(), LinkType.CREATE, 'trajectory')
    node.store()
    selection = Selection(
        trajectory_indices=np.array([0]),
        frame_indices=np.array([2]),
        distances=np.array([np.nan]),
        gains=np.array([np.nan]),
        splits=(None,),
        report={},
    )
    outputs, process = export_dataset.run_get_node(
        selection=stored(nodes_from_selection(selection, [node])['selection']),
        campaign=orm.Dict({'name': 'argon', 'config_hash': '2' * 64}),
        random_seed=orm.Int(1),
        stage_version=orm.Str('test'),
        legs={'leg0': node},
        seeds={'seed0': SeedData.from_seed(seed).store()},
    )
    assert process.is_finished_ok, process.exit_message
    with outputs['dataset'].as_path() as file:
        shutil.copy(file, path)


def test_the_settings_of_the_calculator_of_a_job_distinguish_levels_with_the_same_name(aiida_profile, tmp_path):
    export_with({'kind': 'lj', 'epsilon_eV': 0.0104}, tmp_path / 'shallow.db')
    export_with({'kind': 'lj', 'epsilon_eV': 0.0208}, tmp_path / 'deep.db')
    export_with({'kind': 'lj', 'epsilon_eV': 0.0104, 'device': 'cpu'}, tmp_path / 'again.db')
    levels = []
    for name in ('shallow', 'deep', 'again'):
        with Dataset(tmp_path / f'{name}.db') as dataset:
            (row,) = dataset.query()
        assert row.key_value_pairs['level'] == row.level.hash
        levels.append(row.level)
    assert {level.name for level in levels} == {'mlip:lj'}
    assert levels[0].parameters['epsilon_eV'] == 0.0104
    assert levels[0].hash == levels[2].hash
    with refused(Code.LEVELS_MIXED, 'shallow.db', 'deep.db', 'mlip:lj', 'epsilon_eV: 0.0104 and 0.0208'):
        merge_datasets([tmp_path / 'shallow.db', tmp_path / 'deep.db'], tmp_path / 'all.db')
    assert merge_datasets([tmp_path / 'shallow.db', tmp_path / 'again.db'], tmp_path / 'all.db').n_rows == 1


@pytest.mark.parametrize(('cutoff_eV', 'has_stress'), [(450.0, False), (500.0, True)])
def test_the_stress_of_gpaw_with_too_few_plane_waves_is_not_exported(aiida_profile, tmp_path, cutoff_eV, has_stress):
    export_with({'kind': 'gpaw', 'plane_wave_cutoff_eV': cutoff_eV}, tmp_path / 'copper.db', 'Cu')
    with Dataset(tmp_path / 'copper.db') as dataset:
        (row,) = dataset.query()
    assert row.level.name == 'dft:gpaw:pbe'
    assert ('stress' in row.labels) is has_stress
