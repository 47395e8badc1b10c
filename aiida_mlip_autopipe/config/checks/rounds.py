"""Conflicts between the sections ``rounds`` and ``training`` and the other sections of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, Fault
from aiida_mlip_autopipe.labelling import LABELLERS, LabellingSettings
from aiida_mlip_autopipe.rounds.settings import RoundsSettings
from aiida_mlip_autopipe.sampling.samplers.environment import EnvironmentSettings
from aiida_mlip_autopipe.structures.plausibility import MAX_NET_FORCE
from aiida_mlip_autopipe.training.base import find_model
from aiida_mlip_autopipe.training.trainer import TRAINERS, TrainerSettings

# Settings of held-out sets. With rounds, the random frames are held out.
SETS = ('test_fraction', 'valid_fraction', 'held_out_kinds', 'held_out_labels')
EXPONENT = 'uncertainty_exponent'
DEFAULT_EXPONENT = EnvironmentSettings.model_fields[EXPONENT].default
OF_ROUNDS = {
    'sets': 'must not be set: rounds hold out the random frames, and draw the validation set of each training run',
    'random_seed': 'must not be set: rounds derive it from the random_seed of the campaign',
}
"""Settings of a training run that rounds determine, and why they are refused."""


def rounds_faults(sections: Mapping[str, Any], places: Mapping[str, CalculatorSettings]) -> Iterator[Fault]:
    """Yield the faults of the sections ``rounds`` and ``training``.

    Parameters
    ----------
    sections
        The validated sections of a config; invalid sections are omitted.
    places
        The calculators of the explorations, by their places in the config.
    """
    if not {'rounds', 'training', 'labelling'} <= sections.keys():
        return
    rounds, training = sections['rounds'], sections['training']
    if rounds is None:
        if 'sampling' in sections:
            yield from _unused_exponents(sections['sampling'].model_dump())
        if training is not None:
            allowed = (
                'has no effect without the section rounds; add it, or train on the finished dataset with '
                "'mlip-autopipe train run'"
            )
            yield Fault(Code.VALUES_INCOMPLETE, 'training', f'kind {training.kind}', allowed)
        return
    for name, purpose in (('labelling', 'labels the frames of each round'), ('training', 'fine-tunes the model')):
        if sections[name] is None:
            yield Fault(
                Code.VALUES_INCOMPLETE,
                'rounds',
                f'maximum {rounds.maximum}',
                f'requires the section {name}, which {purpose}',
            )
    if training is not None:
        yield from _training_faults(training, places)
    if sections['labelling'] is not None:
        yield from _target_faults(rounds, sections['labelling'])
    if 'sampling' in sections:
        yield from _sampling_faults(rounds, sections['sampling'])


def _training_faults(training: TrainerSettings, places: Mapping[str, CalculatorSettings]) -> Iterator[Fault]:
    for name, allowed in OF_ROUNDS.items():
        if getattr(training, name) != type(training).model_fields[name].default:
            yield Fault(Code.VALUES_EXCLUDE, f'training.{name}', repr(getattr(training, name)), allowed)
    if training.recipe == 'scratch':
        allowed = 'must be naive or replay: rounds fine-tune an existing model'
        yield Fault(Code.VALUE_INVALID, 'training.recipe', repr(training.recipe), allowed)
        return
    assert training.model is not None  # all other recipes have a model
    try:
        find_model(training.model, TRAINERS.load(training.kind).known_models, 'training.model')
    except AutopipeError as error:
        yield Fault(error.code, 'training.model', repr(training.model), str(error).removeprefix('training.model: '))
    for place, calculator in places.items():
        if calculator.kind != training.kind:
            allowed = f'must be {training.kind}, like training.kind: rounds explore with models of this trainer'
            yield Fault(Code.VALUE_INVALID, f'{place}.kind', repr(calculator.kind), allowed)
        elif (model := getattr(calculator, 'model', None)) != training.model:
            allowed = f'must be the model of {place}, {model!r}, which is the default'
            yield Fault(Code.VALUE_INVALID, 'training.model', repr(training.model), allowed)


def _unused_exponents(settings: Any, place: str = 'sampling') -> Iterator[Fault]:
    """Yield a fault for each sampler, at any depth, whose exponent was changed although no models are compared."""
    if isinstance(settings, Mapping):
        value = settings.get(EXPONENT, DEFAULT_EXPONENT)
        if value != DEFAULT_EXPONENT:
            allowed = 'requires the section rounds, whose models disagree about frames'
            yield Fault(Code.VALUES_INCOMPLETE, f'{place}.{EXPONENT}', f'{value:g}', allowed)
        for name, one in settings.items():
            yield from _unused_exponents(one, f'{place}.{name}')
    elif isinstance(settings, list | tuple):
        for number, one in enumerate(settings):
            yield from _unused_exponents(one, f'{place}[{number}]')


def _target_faults(rounds: RoundsSettings, labelling: LabellingSettings) -> Iterator[Fault]:
    """Yield a fault if the target is below the net force up to which labels are kept."""
    # Other labellers repeat no label, because the result would be the same.
    if LABELLERS.load(labelling.kind).variations and rounds.target_force_error_eV_A < MAX_NET_FORCE:
        allowed = (
            f'must be at least {MAX_NET_FORCE:g}: labels of the kind {labelling.kind} with a net force of up to '
            f'{MAX_NET_FORCE:g} eV/Å per atom are kept, so smaller errors of a model cannot be measured'
        )
        yield Fault(
            Code.OUT_OF_RANGE,
            'rounds.target_force_error_eV_A',
            f'{rounds.target_force_error_eV_A:g}',
            allowed,
        )


def _sampling_faults(rounds: RoundsSettings, sampling: Any) -> Iterator[Fault]:
    for name in SETS:
        if value := getattr(sampling, name):
            allowed = 'must not be set with rounds, because their test set consists of random frames'
            yield Fault(Code.VALUES_EXCLUDE, f'sampling.{name}', repr(value), allowed)
    if sampling.reference_dataset is not None:
        allowed = 'must not be set with rounds: each round extends the dataset of the earlier ones'
        yield Fault(Code.VALUES_EXCLUDE, 'sampling.reference_dataset', repr(str(sampling.reference_dataset)), allowed)
    needed = sampling.n_structures + rounds.random_labels
    if rounds.label_budget is not None and rounds.label_budget < needed:
        allowed = (
            f'must be at least {needed}, the number of labels of one round: {sampling.n_structures} '
            f'(sampling.n_structures) plus {rounds.random_labels} (rounds.random_labels)'
        )
        yield Fault(Code.OUT_OF_RANGE, 'rounds.label_budget', str(rounds.label_budget), allowed)
