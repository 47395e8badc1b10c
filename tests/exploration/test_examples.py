"""The exploration of each entry of the example configs runs, with few steps."""

from pathlib import Path

import pytest

from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.structures.seed import Place, is_amorphous

CONFIGS = Path(__file__).parents[2] / 'workchains' / 'configs'
N_STEPS = {'deform': 3, 'dynamics': 24, 'relax': 5}


@pytest.mark.parametrize('name', ['deform_full', 'flexible_cells', 'monte_carlo', 'novelty', 'single_points'])
def test_the_explorations_of_an_example_config_run(name, job_folder):
    config = load_config(CONFIGS / f'{name}.yaml')
    # The potential of this config is too slow for this test.
    calculator = {'kind': 'emt'} if name == 'monte_carlo' else config.calculator.model_dump(mode='json')
    for number, entry in enumerate(config.generation):
        (seed, *_) = generate_seeds([entry], random_seed=config.random_seed, cutoff_A=2.0).seeds
        settings = config.exploration_of(number).for_seed(Place())
        content = settings.model_dump(mode='json', exclude={'committee'}, exclude_unset=True)
        if settings.kind in N_STEPS:
            content |= {'n_steps': N_STEPS[settings.kind]}
        if settings.kind == 'dynamics':
            content |= {'n_equilibration_steps': min(settings.n_equilibration_steps, 12), 'frame_interval': 2}
        facts = {
            'form': seed.record.get('form'),
            'molecular': seed.record.get('molecular', False),
            'amorphous': is_amorphous(seed.record),
        }
        result = job_folder(str(number)).write(seed.atoms, content, calculator=calculator, **facts).run()
        assert (result.outcome, result.message) == ('completed', '')
        assert result.n_frames > 0
