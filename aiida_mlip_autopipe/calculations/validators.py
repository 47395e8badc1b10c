"""Validators of ports. They apply the checks of a config file to processes that are submitted without one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from aiida import orm
from aiida.engine import PortNamespace
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from aiida_mlip_autopipe.calculations.model_link import fill_in_models, find_model_fault
from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.config.checks.campaign import disagreement_places
from aiida_mlip_autopipe.config.execution import AnyCalculator, DescriptorJobSettings, ExecutionSettings
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor, Of
from aiida_mlip_autopipe.exploration import DEFAULT_KIND, KINDS, read_exploration
from aiida_mlip_autopipe.exploration.settings.job_settings import join_settings
from aiida_mlip_autopipe.generation import read_entries
from aiida_mlip_autopipe.jobs.contract import Job
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.labelling import LabellingSettings
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import ExtendedCampaign
from aiida_mlip_autopipe.training.trainer import NEW_MODEL

Validator = Callable[[Any, Any], str | None]
"""Returns the errors in the value of a port, one per line; None if the value is valid."""

Sha256 = Annotated[str, Field(pattern='^[0-9a-f]{64}$')]
# The required and the optional inputs in the namespace of a code, and the inputs in its namespace ``stash``.
CODE = ('code', 'calculator', 'environment', 'options')
OPTIONAL = ('model', 'member_models', 'image_sha256', 'stash')
STASH = ('folder', 'options')
REFERENCE_INPUT = 'required if exploration.novelty has a reference_dataset, and refused otherwise'
# The inputs in the namespace of an override.
OVERRIDE = ('exploration', 'n_steps')
AtomicNumbers = Annotated[list[Annotated[int, Field(ge=1, le=118)]], Field(min_length=1)]


class RequiredDescriptor(Settings):
    """A descriptor, and whether it describes structures or environments."""

    of: Of
    descriptor: AnyDescriptor


def set_validators(namespace: PortNamespace, ports: Mapping[str, Validator], combined: Validator | None = None) -> None:
    """Set the validators of ports.

    Parameters
    ----------
    namespace
        The ports of a process.
    ports
        The validator of each port, by its name.
    combined
        Checks combinations of inputs; runs after the existing validator of the namespace.
    """
    for name, validator in ports.items():
        namespace[name].validator = validator
    if combined is not None:
        namespace.validator = _all_of(namespace.validator, combined)


def validate_as(name: str, annotation: Any) -> Validator:
    """Return the validator of a port.

    Parameters
    ----------
    name
        Name of the port; the location in each error message starts with it.
    annotation
        Type of the node's content or of the plain value: a pydantic model or an annotated type.
    """
    model = _model(**{name: annotation})

    def validate(value: Any, port: Any) -> str | None:
        data = {name: content(value)}
        try:
            model.model_validate(data)
        except ValidationError as error:
            return _join_lines(str(fault) for fault in faults_of(error, data, model))
        return None

    return validate


def validate_as_field(model: type[BaseModel], field: str, name: str | None = None) -> Validator:
    """Return the validator of a port that corresponds to a field of a model, by default of the same name."""
    return validate_as(name or field, _annotation(model, field))


def content(value: Any) -> Any:
    """Return the plain value of a node; other values are returned unchanged."""
    if isinstance(value, orm.Dict):
        return value.get_dict()
    if isinstance(value, orm.List):
        return value.get_list()
    return value.value if isinstance(value, orm.BaseType) else value


def calculator(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse settings of a calculator that are invalid or do not match its models or environment."""
    if 'calculator' not in inputs:
        return None
    data = inputs['calculator'].get_dict()
    if 'training' in inputs and inputs['training'].get_dict().get('recipe') == 'scratch':
        # The job makes the model.
        faults = _calculator({'model': NEW_MODEL, **data}, None)
    else:
        # Models are separate inputs, so any name passes here.
        faults = _calculator(fill_in_models(data, inputs), None) or find_model_fault(inputs)
    if faults is None and 'environment' in inputs:
        requested, device = data.get('device', 'auto'), inputs['environment'].get('device')
        if requested not in ('auto', device):
            return f'calculator.device: got {requested!r}; must be {device!r}, as in the environment record'
    return faults


def exploration(*, of_one_seed: bool) -> Validator:
    """Return the validator of a namespace with the settings of an exploration.

    Parameters
    ----------
    of_one_seed
        Whether to require a single temperature and pressure; a campaign distributes lists and ranges over its seeds.
    """

    def validate(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
        if 'exploration' not in inputs:
            return None
        kind = inputs['exploration'].get_dict().get('kind', DEFAULT_KIND)
        if kind not in KINDS:
            return f'exploration.kind: got {kind!r}; must be one of {", ".join(KINDS)}'
        data, faults = _merge_separate_inputs('exploration', inputs, namespace, KINDS[kind])
        if faults is None and 'n_steps' in inputs:
            try:
                data = join_settings(data, data.pop('n_steps', content(inputs['n_steps'])))
            except (ValueError, TypeError, KeyError) as error:
                return f'exploration.phases: {error}'
        faults = faults or validate_as('exploration', KINDS[kind])(data, None)
        if faults is not None:
            return faults
        settings, found = read_exploration(data), []
        for name in ('temperature_K', 'pressure_GPa') if of_one_seed else ():
            if not isinstance(getattr(settings, name, 0.0), float):
                found.append(f'exploration.{name}: got {data[name]}; must be a single value for one seed')
        interval = content(inputs.get('full_trajectory_interval'))
        if interval is not None and settings.kind != 'dynamics':
            found.append(f'full_trajectory_interval: got {interval}; has no effect for the kind {settings.kind}')
        elif interval is not None and interval > settings.total_steps:
            allowed = f'must be at most {settings.total_steps}, the number of steps of the run'
            found.append(f'full_trajectory_interval: got {interval}; {allowed}')
        if of_one_seed and _has_reference(inputs['exploration']) != ('reference_environments' in inputs):
            found.append(f'reference_environments: {REFERENCE_INPUT}')
        return _join_lines(found)

    return validate


def descriptors_job(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse a descriptor that the job cannot compute from its inputs."""
    if 'descriptor' not in inputs:
        return None
    found = []
    if ('reference_dataset' in inputs) == bool(inputs.get('legs')):
        found.append('legs: provide either legs or a reference dataset')
    if inputs['descriptor'].get_dict().get('kind') == 'learned':
        if 'calculator' not in inputs:
            found.append('calculator: missing; a learned descriptor needs its calculator')
        if 'pca' in inputs:
            found.append("pca: not supported for learned descriptors; only the kind 'soap' supports it")
    return _join_lines(found)


def selection(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse inputs without frames, and settings with a reference dataset.

    The job checks whether a committee has evaluated frames; this is unknown before all explorations have ended.
    """
    found = [] if inputs.get('legs') else ['legs: missing; a selection needs frames']
    settings = inputs['settings'].get_dict()
    if settings.get('reference_dataset') is not None:
        found.append('settings.reference_dataset: pass it as the input reference_dataset')
    return _join_lines(found)


def descriptors_work_chain(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse inputs without frames, and learned descriptors without a calculator."""
    found = [] if inputs.get('legs') else ['legs: missing; descriptors need frames']
    kinds = {request['descriptor'].get('kind') for request in inputs['descriptors'].get_list()}
    if 'learned' in kinds and 'calculator' not in inputs['job']:
        found.append('job.calculator: missing; a learned descriptor needs its calculator')
    return _join_lines(found)


def pca(node: orm.ArrayData, port: Any) -> str | None:
    """Refuse arrays that are not principal components: ``mean`` (d,), ``directions`` (d, c), ``variances`` (d,)."""
    arrays = dict(node.get_iterarrays())
    if arrays.keys() != {'mean', 'directions', 'variances'}:
        return f'pca: got the arrays {sorted(arrays)}; must be mean, directions and variances'
    shapes = [arrays[name].shape for name in ('mean', 'directions', 'variances')]
    if [len(shape) for shape in shapes] != [1, 2, 1] or len({shape[0] for shape in shapes}) != 1:
        return f'pca: got arrays with the shapes {shapes}; must be (d,), (d, c) and (d,)'
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return 'pca: got values that are not finite'
    return None


def codes(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse codes that lack a required input or have an invalid calculator."""
    found = [] if inputs else ['codes: missing; a campaign needs at least one code']
    for key, one in inputs.items():
        missing = [f'{name}: missing; every code needs it' for name in CODE if name not in one]
        missing += [f'{name}: not an input of a code' for name in one if name not in CODE + OPTIONAL]
        stash = one.get('stash', dict.fromkeys(STASH))
        missing += [f'stash.{name}: missing; every stash needs it' for name in STASH if name not in stash]
        faults = _join_lines([*missing, _environment(one['environment'], None) if 'environment' in one else None])
        found += [f'codes.{key}.{fault}' for fault in (faults or calculator(one, one) or '').splitlines()]
    return _join_lines(found)


def overrides(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse an exploration of a single entry that is incomplete or invalid."""
    found = []
    for key, one in inputs.items():
        missing = [f'{name}: missing; every override needs it' for name in OVERRIDE if name not in one]
        missing += [f'{name}: not an input of an override' for name in one if name not in OVERRIDE]
        faults = _join_lines(missing) or exploration(of_one_seed=False)(one, OVERRIDE)
        found += [f'overrides.{key}.{fault}' for fault in (faults or '').splitlines()]
    return _join_lines(found)


def dataset(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse inconsistent inputs of a campaign."""
    used: dict[str, Path] = {}
    read_entries(inputs['generation'].get_dict()['entries'], lambda key: used.setdefault(key, Path(key)))
    missing = sorted(used.keys() - inputs.get('files', {}).keys())
    found = [f'files.{key}: missing; generation refers to this file' for key in missing]
    if inputs['sampling'].get_dict().get('reference_dataset') is not None:
        found.append('sampling.reference_dataset: pass it as the input reference_dataset')
    explorations = [one['exploration'] for one in (inputs['job'], *inputs.get('overrides', {}).values())]
    if any(map(_has_reference, explorations)) != ('novelty_reference_dataset' in inputs):
        found.append(f'novelty_reference_dataset: {REFERENCE_INPUT}')
    if 'committee' not in inputs:
        places = disagreement_places(inputs['sampling'].get_dict())
        found += [f"{place}: got 'disagreement', which needs a committee" for place in places]
    return _join_lines(found)


def _has_reference(exploration: orm.Dict) -> bool:
    """Return whether the environments of a run are compared with those of a reference dataset."""
    return (exploration.get('novelty') or {}).get('reference_dataset') is not None


def _merge_separate_inputs(
    name: str, inputs: Mapping[str, Any], namespace: Iterable[str], model: type[BaseModel]
) -> tuple[dict[str, Any], str | None]:
    """Return settings merged with the fields that have separate ports, and an error for each duplicate field."""
    data, separate = content(inputs[name]), model.model_fields.keys() & set(namespace)
    duplicates = sorted(separate & data.keys())
    faults = [f'{name}.{field}: got {data[field]!r}; pass it as the input {field}' for field in duplicates]
    return data | {field: content(inputs[field]) for field in separate & inputs.keys()}, _join_lines(faults)


def _all_of(*validators: Validator | None) -> Validator:
    def validate(value: Any, port: Any) -> str | None:
        return _join_lines(validator(value, port) for validator in validators if validator is not None)

    return validate


def _join_lines(faults: Iterable[str | None]) -> str | None:
    return '\n'.join(fault for fault in faults if fault) or None


def _model(**annotations: Any) -> type[BaseModel]:
    """Return a model with these fields. Those without a default are required; a tuple contains a default."""
    fields: dict[str, Any] = {name: one if isinstance(one, tuple) else (one, ...) for name, one in annotations.items()}
    config = ConfigDict(extra='forbid', allow_inf_nan=False)
    model: type[BaseModel] = create_model('Port', __config__=config, **fields)
    return model


def _annotation(model: type[BaseModel], field: str) -> Any:
    return model.model_fields[field].rebuild_annotation()


_environment = validate_as('environment', Environment)
_calculator = validate_as('calculator', AnyCalculator)

# The validators of single ports, for each process.
JOB = {'environment': _environment}
EXPLORATION = {
    'random_seed': validate_as_field(CampaignConfig, 'random_seed'),
    'recoveries': validate_as_field(Job, 'recoveries'),
    'full_trajectory_interval': validate_as('full_trajectory_interval', Annotated[int, Field(ge=1)]),
}
EXPLORATIONS = {
    'max_iterations': validate_as_field(ExecutionSettings, 'max_legs', 'max_iterations'),
    'retry_memory_factor': validate_as_field(ExecutionSettings, 'retry_memory_factor'),
}
DESCRIPTORS = {
    'descriptor': validate_as('descriptor', AnyDescriptor),
    'species': validate_as('species', AtomicNumbers),
    'pca': pca,
}
SELECTION = {
    'settings': validate_as_field(CampaignConfig, 'sampling', 'settings'),
    'random_seed': validate_as_field(CampaignConfig, 'random_seed'),
}
DESCRIPTORS_WORK_CHAIN = {
    'descriptors': validate_as('descriptors', Annotated[list[RequiredDescriptor], Field(min_length=1)]),
    'max_concurrent_jobs': validate_as_field(ExecutionSettings, 'max_concurrent_jobs'),
}
LABELLING = {
    'level': validate_as('level', LevelOfTheory),
    'settings': validate_as('settings', LabellingSettings),
    'structures_per_job': validate_as_field(LabellingSettings, 'structures_per_job'),
    'max_concurrent_jobs': validate_as_field(ExecutionSettings, 'max_concurrent_jobs'),
}
DATASET = EXPLORATIONS | {
    'campaign': validate_as(
        'campaign',
        _model(name=_annotation(CampaignConfig, 'name'), config_hash=Sha256, extends=(ExtendedCampaign, None)),
    ),
    'random_seed': validate_as_field(CampaignConfig, 'random_seed'),
    'random_share': validate_as(
        'random_share', _model(n_labels=Annotated[int, Field(ge=1)], round=Annotated[int, Field(ge=1)])
    ),
    'generation': validate_as(
        'generation', _model(entries=_annotation(CampaignConfig, 'generation'), cutoff_A=Annotated[float, Field(gt=0)])
    ),
    'sampling': validate_as_field(CampaignConfig, 'sampling'),
    'codes': codes,
    'job': exploration(of_one_seed=False),
    'overrides': overrides,
    'n_seeds': validate_as('n_seeds', Annotated[int, Field(ge=1)]),
    'descriptor_jobs_from': validate_as_field(DescriptorJobSettings, 'min_frames', 'descriptor_jobs_from'),
    'max_concurrent_jobs': validate_as_field(ExecutionSettings, 'max_concurrent_jobs'),
    'min_success_fraction': validate_as_field(ExecutionSettings, 'min_success_fraction'),
}
