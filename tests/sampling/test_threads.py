import json
from dataclasses import replace

import numpy as np
import pytest
from support.sampling import sampling, select
from threadpoolctl import threadpool_limits

from aiida_mlip_autopipe.descriptors.environments import project_environments
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling import SAMPLERS
from aiida_mlip_autopipe.sampling.assessment import assess_selection
from aiida_mlip_autopipe.sampling.pool.describe import fit_environments
from aiida_mlip_autopipe.structures.disagreement import LARGEST

SOAP = {'n_max': 6, 'l_max': 4}
FIELDS = {
    'environment': {'descriptor': SOAP},
    'fps': {'descriptor': SOAP},
    'direct': {'descriptor': SOAP},
    'stratified': {'by': 'seed', 'within': {'kind': 'direct', 'descriptor': SOAP}},
    'disagreement': {'descriptor': SOAP},
    'mix': {
        'parts': [{'fraction': 1, 'sampler': {'kind': kind, 'descriptor': SOAP}} for kind in ('environment', 'fps')]
    },
}


@pytest.fixture
def trajectories(make_trajectory, rattled):
    """Return the trajectories of an alloy with displacements from small to large."""
    rng = np.random.default_rng(3)
    return [
        replace(make_trajectory(rattled(12, run, 0.05 + 0.03 * run), f'{run}'), extra={LARGEST: rng.uniform(size=12)})
        for run in range(8)
    ]


def with_threads(function):
    """Return the results of a function with one and with two threads."""
    results = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            results.append(function())
    return results


@pytest.mark.parametrize(
    ('kind', 'target'),
    [*((kind, None) for kind in sorted(SAMPLERS)), ('stride', {'score': 0.7, 'descriptor': SOAP})],
)
def test_a_selection_is_bitwise_identical_for_any_number_of_threads(trajectories, kind, target):
    def content():
        settings = sampling(kind, n_structures=20, test_fraction=0.1, coverage_target=target, **FIELDS.get(kind, {}))
        selection = select(trajectories, settings)
        arrays = ('trajectory_indices', 'frame_indices', 'distances', 'gains')
        return [getattr(selection, name).tobytes() for name in arrays], selection.report

    one, two = with_threads(content)
    assert one == two


def test_an_assessment_is_bitwise_identical_for_any_number_of_threads(trajectories):
    selection = select(trajectories, sampling('stride', n_structures=20))
    one, two = with_threads(
        lambda: assess_selection(trajectories, selection, SoapSettings(**SOAP), random_seed=0, n_random=1)
    )
    assert json.dumps(one) == json.dumps(two)


def test_the_components_of_environments_are_bitwise_identical_for_any_number_of_threads(trajectories):
    settings = SoapSettings(**SOAP)

    def content():
        pca = fit_environments(trajectories, [29, 79], settings)
        (components,) = project_environments([trajectories[0].frame(0) * (4, 4, 4)], [29, 79], settings, pca)
        return pca.mean.tobytes(), pca.directions.tobytes(), pca.variances.tobytes(), components.tobytes()

    one, two = with_threads(content)
    assert one == two
