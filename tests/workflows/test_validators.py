"""The inputs of processes that are submitted without a config file are validated before anything is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run
from ase.build import bulk
from ase.io import write
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.descriptors import DescriptorsCalculation
from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.descriptors import DescriptorsWorkChain
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain

COPPER = bulk('Cu', cubic=True)
SOAP = {'kind': 'soap'}
LEARNED = {'kind': 'learned'}


def make_leg():
    trajectory = Trajectory(
        seed_id='seed',
        numbers=COPPER.numbers,
        pbc=COPPER.pbc,
        steps=np.arange(1),
        positions=COPPER.positions[None],
        cells=COPPER.cell.array[None],
        energies=np.zeros(1),
        forces=np.zeros((1, 4, 3)),
        stresses=np.zeros((1, 6)),
        temperatures=np.zeros(1),
    )
    return node_from_trajectory(trajectory, {})


def components(**changes):
    arrays = {'mean': np.zeros(4), 'directions': np.zeros((4, 2)), 'variances': np.zeros(4)}
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def make_dataset(structures):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'old.traj')
        write(path, structures)
        return DatasetData.from_file(path)


# The node types of ports. The tables below contain plain values, because no profile is loaded when they are defined.
NODES = {
    'campaign': orm.Dict,
    'descriptor': orm.Dict,
    'descriptors': orm.List,
    'full_trajectory_interval': orm.Int,
    'generation': orm.Dict,
    'max_iterations': orm.Int,
    'pca': orm.ArrayData,
    'random_seed': orm.Int,
    'reference_dataset': make_dataset,
    'novelty_reference_dataset': make_dataset,
    'sampling': orm.Dict,
    'species': orm.List,
}


def nodes(change):
    return {name: NODES[name](value) if name in NODES else value for name, value in change.items()}


@pytest.fixture
def job(emt_code):
    """The inputs of all jobs."""
    return {
        'code': emt_code,
        'calculator': orm.Dict({'kind': 'emt'}),
        'environment': orm.Dict(environment_of({'kind': 'emt'}).model_dump(mode='json')),
    }


@pytest.fixture
def exploration(job):
    return job | {
        'seed': SeedData.from_seed(Seed(COPPER)),
        'exploration': orm.Dict({'temperature_K': 300.0}),
        'n_steps': orm.Int(20),
        'random_seed': orm.Int(1),
        'runner_version': orm.Str('none'),
        'full_trajectory_interval': orm.Int(20),
    }


@pytest.fixture
def evaluation(job):
    return job | {
        'trajectory': make_leg(),
        'seed': SeedData.from_seed(Seed(COPPER)),
        'evaluation_version': orm.Str('none'),
    }


@pytest.fixture
def descriptors_job(job):
    return job | {
        'legs': {'frames_a': make_leg()},
        'descriptor': orm.Dict(SOAP),
        'species': orm.List([29]),
        'descriptors_version': orm.Str('none'),
    }


@pytest.fixture
def descriptors_chain(job):
    return {
        'legs': {'frames_a': make_leg()},
        'descriptors': orm.List([{'of': 'structures', 'descriptor': SOAP}]),
        'job': job | {'descriptors_version': orm.Str('none')},
        'max_concurrent_jobs': 1,
    }


def as_plain(inputs):
    return {name: as_plain(one) if isinstance(one, Mapping) else one for name, one in inputs.items()}


@pytest.fixture(scope='module')
def campaign_inputs(emt_code, campaign_config):
    return DatasetWorkChain.get_builder_from_config(campaign_config())._inputs(prune=True)


@pytest.fixture
def dataset(campaign_inputs):
    """The inputs of a campaign as plain dictionaries."""
    return as_plain(campaign_inputs)


def assert_refused(process, inputs, *places):
    """Check that a process is refused with errors at these places, before any node is stored."""
    before = orm.QueryBuilder().append(orm.Node).count()
    with pytest.raises(ValueError, match='validating') as raised:
        run(process, **inputs)
    lines = str(raised.value).splitlines()
    assert len(lines) == len(places), lines
    assert all(f'{place}:' in line for place, line in zip(places, lines, strict=True)), lines
    assert orm.QueryBuilder().append(orm.Node).count() == before


def fault_of(process, inputs):
    ports = process.spec().inputs
    return ports.validate(ports.pre_process(dict(inputs)))


def test_valid_inputs_pass(exploration, evaluation, descriptors_job, descriptors_chain, dataset):
    for process, inputs in (
        (ExplorationCalculation, exploration),
        (ExplorationCalculation, exploration | {'recoveries': orm.Int(0)}),
        (ExplorationWorkChain, {'job': exploration}),
        (EvaluationCalculation, evaluation),
        (DescriptorsCalculation, descriptors_job),
        (DescriptorsCalculation, descriptors_job | {'descriptor': orm.Dict(LEARNED)}),
        (DescriptorsCalculation, descriptors_job | nodes({'pca': components()})),
        (DescriptorsWorkChain, descriptors_chain),
        (DatasetWorkChain, dataset),
    ):
        assert fault_of(process, inputs) is None, process


EXPLORATIONS = {
    'a value out of range': ({'temperature_K': -5.0}, ['exploration.temperature_K']),
    'a misspelt key': ({'temprature_K': 300.0}, ['exploration.temprature_K']),
    'several temperatures': ({'temperature_K': [300.0, 500.0]}, ['exploration.temperature_K']),
    'a range of pressures': ({'pressure_GPa': {'min': 0, 'max': 1}}, ['exploration.pressure_GPa']),
    'a string': ({'frame_interval': 'often'}, ['exploration.frame_interval']),
    'two faults': ({'temperature_K': -5.0, 'ensemble': 'nvp'}, ['exploration.ensemble', 'exploration.temperature_K']),
    'fewer steps than the equilibration has': ({'n_equilibration_steps': 30}, ['exploration']),
    'steps that have a separate input': ({'n_steps': 20}, ['exploration.n_steps']),
    'phases with more steps than the run': (
        {'phases': [{'n_steps': 15}, {'kind': 'ramp', 'n_steps': 6}]},
        ['exploration.phases'],
    ),
    'a reference dataset without its environments': (
        {'novelty': {'kind': 'distance', 'threshold': 0.1, 'reference_dataset': 'reference_environments.npz'}},
        ['reference_environments'],
    ),
    'an unknown move': ({'monte_carlo': {'moves': [{'kind': 'jump'}]}}, ['exploration.monte_carlo.moves[0].kind']),
}


@pytest.mark.parametrize(('change', 'places'), EXPLORATIONS.values(), ids=EXPLORATIONS)
def test_invalid_settings_of_an_exploration_are_refused(exploration, change, places):
    exploration['exploration'] = orm.Dict(change)
    assert_refused(ExplorationCalculation, exploration, *places)
    assert_refused(ExplorationWorkChain, {'job': exploration}, *places)


CALCULATORS = {
    'no kind': ({}, 'calculator.kind'),
    'an unknown kind': ({'kind': 'vasp'}, 'calculator.kind'),
    'a misspelt key': ({'kind': 'emt', 'cutof_A': 5.0}, 'calculator.cutof_A'),
    'a negative cutoff': ({'kind': 'emt', 'cutoff_A': -1.0}, 'calculator.cutoff_A'),
    'no model': ({'kind': 'mace'}, 'model'),
    'a model by its name': ({'kind': 'sevennet', 'model': '7net-0'}, 'calculator'),
}


@pytest.mark.parametrize(('settings', 'place'), CALCULATORS.values(), ids=CALCULATORS)
def test_an_invalid_calculator_is_refused_by_every_process(
    exploration, evaluation, descriptors_job, descriptors_chain, dataset, settings, place
):
    bad = {'calculator': orm.Dict(settings)}
    assert_refused(ExplorationCalculation, exploration | bad, place)
    assert_refused(EvaluationCalculation, evaluation | bad, place)
    assert_refused(DescriptorsCalculation, descriptors_job | bad, place)
    assert_refused(ExplorationWorkChain, {'job': exploration | bad}, place)
    assert_refused(DescriptorsWorkChain, descriptors_chain | {'job': descriptors_chain['job'] | bad}, place)
    codes = {key: one | bad for key, one in dataset['codes'].items()}
    assert_refused(DatasetWorkChain, dataset | {'codes': codes}, f'codes.{next(iter(codes))}.{place}')


NUMBERS = {
    'a negative random seed': ({'random_seed': -1}, 'random_seed'),
    'a random seed beyond 63 bits': ({'random_seed': 2**63}, 'random_seed'),
    'an interval of zero steps': ({'full_trajectory_interval': 0}, 'full_trajectory_interval'),
    'an interval longer than the run': ({'full_trajectory_interval': 21}, 'full_trajectory_interval'),
    'an interval for a relaxation': (
        {'exploration': {'kind': 'relax'}, 'full_trajectory_interval': 5},
        'full_trajectory_interval',
    ),
}


@pytest.mark.parametrize(('change', 'place'), NUMBERS.values(), ids=NUMBERS)
def test_numbers_out_of_range_are_refused(exploration, change, place):
    assert_refused(ExplorationCalculation, exploration | nodes(change), place)
    assert_refused(ExplorationWorkChain, {'job': exploration | nodes(change)}, place)


def test_a_number_of_recoveries_or_legs_or_a_memory_factor_that_is_too_small_is_refused(exploration):
    assert_refused(ExplorationCalculation, exploration | {'recoveries': orm.Int(-1)}, 'recoveries')
    assert_refused(ExplorationWorkChain, {'job': exploration, 'max_iterations': orm.Int(0)}, 'max_iterations')
    assert_refused(ExplorationWorkChain, {'job': exploration, 'retry_memory_factor': 0.5}, 'retry_memory_factor')


DESCRIPTOR_JOBS = {
    'an unknown descriptor': ({'descriptor': {'kind': 'acsf'}}, 'descriptor.kind'),
    'a misspelt key': ({'descriptor': {'kind': 'soap', 'n_maxx': 3}}, 'descriptor.n_maxx'),
    'no species': ({'species': []}, 'species'),
    'a species that is not an element': ({'species': [29, 130]}, 'species[1]'),
    'missing arrays': ({'pca': components(variances=None)}, 'pca'),
    'arrays of inconsistent shapes': ({'pca': components(mean=np.zeros(3))}, 'pca'),
    'directions that are not finite': ({'pca': components(directions=np.full((4, 2), np.nan))}, 'pca'),
    'no frames': ({'legs': {}}, 'legs'),
    'frames and a reference dataset': ({'reference_dataset': [COPPER]}, 'legs'),
    'principal components of learned descriptors': ({'descriptor': LEARNED, 'pca': components()}, 'pca'),
}


@pytest.mark.parametrize(('change', 'place'), DESCRIPTOR_JOBS.values(), ids=DESCRIPTOR_JOBS)
def test_invalid_inputs_of_a_descriptor_job_are_refused(descriptors_job, change, place):
    assert_refused(DescriptorsCalculation, descriptors_job | nodes(change), place)


def test_learned_descriptors_need_a_calculator(descriptors_job, descriptors_chain):
    del descriptors_job['calculator'], descriptors_chain['job']['calculator']
    assert_refused(DescriptorsCalculation, descriptors_job | {'descriptor': orm.Dict(LEARNED)}, 'calculator')
    requests = orm.List([{'of': 'structures', 'descriptor': LEARNED}])
    assert_refused(DescriptorsWorkChain, descriptors_chain | {'descriptors': requests}, 'job.calculator')


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        ({'descriptors': []}, 'descriptors'),
        ({'descriptors': [{'of': 'atoms', 'descriptor': SOAP}]}, 'descriptors[0].of'),
        (
            {'descriptors': [{'of': 'structures', 'descriptor': {'kind': 'soap', 'x': 1}}]},
            'descriptors[0].descriptor.x',
        ),
        ({'legs': {}}, 'legs'),
        ({'max_concurrent_jobs': 0}, 'max_concurrent_jobs'),
    ],
)
def test_invalid_inputs_of_the_work_chain_for_descriptors_are_refused(descriptors_chain, change, place):
    assert_refused(DescriptorsWorkChain, descriptors_chain | nodes(change), place)


CAMPAIGNS = {
    'a name with a space': ({'campaign': {'name': 'my set', 'config_hash': 'a' * 64}}, 'campaign.name'),
    'a malformed hash': ({'campaign': {'name': 'mine', 'config_hash': 'none'}}, 'campaign.config_hash'),
    'a negative random seed': ({'random_seed': -1}, 'random_seed'),
    'no entries': ({'generation': {'entries': [], 'cutoff_A': 6.0}}, 'generation.entries'),
    'no cutoff': ({'generation': {'entries': [{'kind': 'alloy', 'composition': {'Cu': 1}}]}}, 'generation.cutoff_A'),
    'an unknown generator': (
        {'generation': {'entries': [{'kind': 'gas'}], 'cutoff_A': 6.0}},
        'generation.entries[0].kind',
    ),
    'a missing file': (
        {'generation': {'entries': [{'kind': 'structures', 'files': ['file_x']}], 'cutoff_A': 6.0}},
        'files.file_x',
    ),
    'a missing file of a molecule': (
        {
            'generation': {
                'entries': [{'kind': 'molecular', 'molecules': [{'file': 'file_x'}], 'density_g_per_cm3': 1.0}],
                'cutoff_A': 6.0,
            }
        },
        'files.file_x',
    ),
    'an unknown sampler': ({'sampling': {'kind': 'best'}}, 'sampling.kind'),
    'a path of a reference dataset': (
        {'sampling': {'kind': 'fps', 'reference_dataset': 'old.db'}},
        'sampling.reference_dataset',
    ),
    'a reference dataset that no exploration uses': (
        {'novelty_reference_dataset': [COPPER]},
        'novelty_reference_dataset',
    ),
    'disagreement without a committee': ({'sampling': {'kind': 'disagreement'}}, 'sampling.kind'),
    'no code': ({'codes': {}}, 'codes'),
    'no seed': ({'n_seeds': 0}, 'n_seeds'),
    'no concurrent job': ({'max_concurrent_jobs': 0}, 'max_concurrent_jobs'),
    'more jobs than a worker has slots': ({'max_concurrent_jobs': 1000}, 'max_concurrent_jobs'),
    'more successes than seeds': ({'min_success_fraction': 1.5}, 'min_success_fraction'),
    'less memory on retry': ({'retry_memory_factor': 0.5}, 'retry_memory_factor'),
    'a negative number of frames': ({'descriptor_jobs_from': -1}, 'descriptor_jobs_from'),
    'no leg': ({'max_iterations': 0}, 'max_iterations'),
}


@pytest.mark.parametrize(('change', 'place'), CAMPAIGNS.values(), ids=CAMPAIGNS)
def test_an_invalid_campaign_is_refused(dataset, change, place):
    assert_refused(DatasetWorkChain, dataset | nodes(change), place)


def test_a_campaign_accepts_several_temperatures_and_refuses_an_invalid_one(dataset):
    settings = dataset['job']['exploration'].get_dict()
    dataset['job'] = dict(dataset['job'], exploration=orm.Dict(settings | {'temperature_K': [300.0, 500.0]}))
    assert fault_of(DatasetWorkChain, dataset) is None
    dataset['job']['exploration'] = orm.Dict(settings | {'temperature_K': [300.0, -500.0]})
    assert_refused(DatasetWorkChain, dataset, 'exploration.temperature_K[1]')


@pytest.mark.parametrize('name', ['code', 'calculator', 'environment'])
def test_a_code_without_a_required_input_is_refused(dataset, job, name):
    del job[name]
    assert_refused(
        DatasetWorkChain, dataset | {'codes': {'mine': job | {'options': orm.Dict({})}}}, f'codes.mine.{name}'
    )


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        ({}, 'codes.mine.options'),
        ({'options': orm.Dict, 'image_sha265': orm.Str}, 'codes.mine.image_sha265'),
        ({'options': orm.Dict, 'stash': lambda: {'folder': orm.Str('/archive')}}, 'codes.mine.stash.options'),
    ],
    ids=['no options', 'an unknown input', 'a stash without options'],
)
def test_missing_and_unknown_inputs_of_a_code_are_refused(dataset, job, change, place):
    mine = job | {name: make() for name, make in change.items()}
    assert_refused(DatasetWorkChain, dataset | {'codes': {'mine': mine}}, place)


def test_an_invalid_environment_record_and_another_device_are_refused(exploration, dataset, job):
    bad = {'environment': orm.Dict({'ase': '3.29.0'})}
    with pytest.raises(ValueError, match=r'environment\.numpy'):
        run(ExplorationCalculation, **(exploration | bad))
    with pytest.raises(ValueError, match=r'codes\.mine\.environment\.numpy'):
        run(DatasetWorkChain, **(dataset | {'codes': {'mine': job | bad | {'options': orm.Dict({})}}}))
    other = {'calculator': orm.Dict({'kind': 'emt', 'device': 'cpu'})}
    elsewhere = orm.Dict(job['environment'].get_dict() | {'device': 'cuda'})
    assert_refused(ExplorationCalculation, exploration | other | {'environment': elsewhere}, 'calculator.device')


def test_a_builder_refuses_an_invalid_value_on_assignment(emt_code):
    builder = emt_code.get_builder()
    with pytest.raises(ValueError, match='random_seed'):
        builder.random_seed = orm.Int(-1)
    with pytest.raises(ValueError, match=r'sampling\.kind'):
        DatasetWorkChain.get_builder().sampling = orm.Dict({'kind': 'best'})


def test_a_campaign_needs_neither_a_committee_nor_descriptor_jobs_nor_labels():
    ports = DatasetWorkChain.spec().inputs
    assert not any(ports[name].required for name in ('committee', 'descriptors', 'labelling'))
