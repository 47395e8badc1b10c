"""The inputs, outputs and exit codes of `DatasetWorkChain`."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.descriptors import DescriptorsCalculation
from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.workflows.graph import RESUMES, define_extends, define_resumes
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain


def define_inputs(spec: WorkChainSpec) -> None:
    """Define the inputs, each with a validator."""
    spec.input('config', valid_type=orm.Dict, help='The complete config, for provenance.')
    spec.input('campaign', valid_type=orm.Dict, help='`name`, `config_hash` and `extends`, which each row records.')
    spec.input('random_seed', valid_type=orm.Int, help='The random seed, from which all random numbers are derived.')
    spec.input(
        'generation', valid_type=orm.Dict, help='`entries`, with keys of `files` instead of paths, and `cutoff_A`.'
    )
    spec.input_namespace(
        'files', valid_type=orm.SinglefileData, required=False, help="The user's structure files, by key."
    )
    spec.input('sampling', valid_type=orm.Dict, help='Settings of the sampling stage, without `reference_dataset`.')
    spec.input(
        'random_share',
        valid_type=orm.Dict,
        required=False,
        help='`n_labels`, the number of frames that are drawn at random before the selection, and `round`, from 1.',
    )
    spec.input('reference_dataset', valid_type=DatasetData, required=False, help='Structures that the dataset extends.')
    spec.input(
        'novelty_reference_dataset',
        valid_type=DatasetData,
        required=False,
        help='Structures whose environments the explorations are compared with.',
    )
    spec.input_namespace(
        'codes',
        dynamic=True,
        help='For each code, by its key: `code`, `calculator`, `model`, `member_models`, `environment`, `image_sha256` '
        'and `options` of its jobs, and `stash` with `folder` and `options` if full trajectories are copied.',
    )
    spec.expose_inputs(
        ExplorationCalculation,
        namespace='job',
        exclude=(
            'seed',
            'reference_environments',
            'checkpoint',
            'recoveries',
            'random_seed',
            'code',
            'calculator',
            'model',
            'member_models',
            'environment',
            'image_sha256',
            'metadata',
        ),
    )
    spec.input_namespace(
        'overrides',
        dynamic=True,
        required=False,
        help='`exploration` and `n_steps` of the seeds of individual entries, by key, such as `entry_0`.',
    )
    optional = {'required': False, 'populate_defaults': False}
    # AiiDA empties the options that it is given, so each namespace gets a copy.
    spec.expose_inputs(
        EvaluationCalculation, namespace='committee', exclude=('trajectory', 'seed'), namespace_options=dict(optional)
    )
    spec.expose_inputs(
        DescriptorsCalculation,
        namespace='descriptors',
        exclude=('legs', 'reference_dataset', 'descriptor', 'species', 'pca'),
        namespace_options=dict(optional),
    )
    spec.expose_inputs(
        LabellingWorkChain,
        namespace='labelling',
        exclude=('dataset', 'max_concurrent_jobs', 'reuse_finished', RESUMES, 'metadata'),
        namespace_options=dict(optional),
    )
    # All explorations share this node.
    spec.input('max_iterations', valid_type=orm.Int, help='Maximum number of legs of one exploration.')
    for name, valid_type, text, default in (
        ('n_seeds', int, 'Number of seeds of all entries.', {}),
        (
            'descriptor_jobs_from',
            int,
            'Minimum number of frames for which jobs compute the descriptors.',
            {'default': 0},
        ),
        (
            'retry_memory_factor',
            float,
            'Factor by which the memory of a job is multiplied after it ran out of memory.',
            {'default': 1.0},
        ),
        ('max_concurrent_jobs', int, 'Maximum number of explorations that run at the same time.', {}),
        ('min_success_fraction', float, 'Fraction of the explorations that must succeed.', {}),
        ('reuse_finished', bool, 'Reuse finished calculations with equal inputs.', {'default': False}),
    ):
        spec.input(name, valid_type=valid_type, is_metadata=True, help=text, **default)
    define_resumes(spec)
    define_extends(spec)
    validators.set_validators(spec.inputs, validators.DATASET, validators.dataset)


def define_outputs(spec: WorkChainSpec) -> None:
    """Define the outputs and the exit codes."""
    spec.output_namespace('seeds', valid_type=SeedData, help='The seeds.')
    spec.output_namespace('generation_reports', valid_type=orm.Dict, help='The rejections, for each chunk of seeds.')
    spec.output('selection', valid_type=orm.ArrayData, help='The selected frames, in order.')
    spec.output('selection_report', valid_type=orm.Dict, help='Counts and coverage of the selection.')
    spec.output('random_share', valid_type=orm.ArrayData, required=False, help='The frames that were drawn at random.')
    spec.output(
        'random_share_report', valid_type=orm.Dict, required=False, help='Counts of the frames drawn at random.'
    )
    spec.output('dataset', valid_type=DatasetData, help='The ASE database.')
    spec.output(
        'labelling_report',
        valid_type=orm.Dict,
        required=False,
        help='The numbers of labels of the reference method, and why rows were left out.',
    )
    for status, label, message in (
        (400, 'ERROR_GENERATION', 'The seeds cannot be generated: {reason}'),
        (
            401,
            'ERROR_TOO_FEW_EXPLORATIONS',
            'Explorations that succeeded: {n_ok} of {n}; the required fraction is {fraction}.',
        ),
        (402, 'ERROR_NO_FRAMES', 'No exploration produced a good frame.'),
        (403, 'ERROR_SAMPLING', 'The frames cannot be selected: {reason}'),
        (404, 'ERROR_EXPORT', 'The dataset cannot be written: {reason}'),
        (405, 'ERROR_STOPPED', 'Stopped by a user; all checkpoints are kept.'),
        (406, 'ERROR_DESCRIPTORS', 'The descriptors cannot be computed: {reason}'),
        (407, 'ERROR_REFERENCE_DATASET', 'The explorations cannot be compared with the reference dataset: {reason}'),
        (408, 'ERROR_LABELLING', 'The dataset cannot be labelled: {reason}'),
        (409, 'ERROR_RANDOM_SHARE', 'No frames can be drawn at random: {reason}'),
    ):
        spec.exit_code(status, label, message=message)
