"""The settings that must be the same in all jobs of a run."""

from support.environments import environment_of

from aiida_mlip_autopipe.calculators.kinds.committee import CommitteeLoader, CommitteeSettings
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.exploration.settings.identity import identify
from aiida_mlip_autopipe.jobs.contract import Job, JobSeed


def identity_of(model, sha256, device='cpu'):
    member = {'kind': 'mace', 'model': model, 'model_sha256': sha256}
    settings = CommitteeSettings.model_validate({'members': [{'kind': 'emt'}, member], 'device': device})
    job = Job(
        environment=environment_of(),
        runner_version=RUNNER_VERSION,
        seeds=(JobSeed(seed_id='seed-1', random_seed=1),),
        calculator={},
        exploration={},
    )
    return identify(job, ExplorationSettings(), CommitteeLoader(settings), None)


def test_the_model_of_a_member_is_identified_by_its_content_and_not_by_its_path():
    expected = identity_of('model/member_1/a.model', 'a' * 64)
    assert identity_of('model/member_1/renamed.model', 'a' * 64, 'cuda') == expected
    assert identity_of('model/member_1/a.model', 'b' * 64) != expected


def test_a_shipped_model_of_a_member_without_a_hash_is_identified_by_its_name():
    assert identity_of('small', None) != identity_of('medium', None)
