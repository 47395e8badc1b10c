"""Conflicts between valid sections of a config, or between a config and this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aiida_mlip_autopipe.config.checks.labelling import labelling_calculators, labelling_faults
from aiida_mlip_autopipe.config.checks.models import model_faults
from aiida_mlip_autopipe.config.checks.rounds import rounds_faults
from aiida_mlip_autopipe.config.exploration import merge_override, settings_of_all_seeds
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, Fault
from aiida_mlip_autopipe.core.phrases import WHOLE, value_text
from aiida_mlip_autopipe.core.wording import one_of
from aiida_mlip_autopipe.descriptors.describe import required_descriptors
from aiida_mlip_autopipe.exploration import (
    CALCULATORS,
    DEFAULT_KIND,
    KINDS,
    AnyExploration,
    CalculatorSettings,
    read_exploration,
)
from aiida_mlip_autopipe.exploration.novelty.setup import COMMITTEE_KIND, committee_settings
from aiida_mlip_autopipe.exploration.settings.novelty import reference_of
from aiida_mlip_autopipe.generation import GeneratorSettings
from aiida_mlip_autopipe.sampling.pool.reference_dataset import check_reference_file
from aiida_mlip_autopipe.structures.rows.splits import TRAINING_KINDS

COMMITTEE = 'exploration.committee.calculator'


def find_conflicts(sections: Mapping[str, Any]) -> list[Fault]:
    """Return the conflicts between sections.

    Parameters
    ----------
    sections
        The validated sections of a config; invalid sections are omitted.
    """
    places = dict(_calculators(sections))
    faults = [fault for path, calculator in places.items() for fault in model_faults(path, calculator)]
    second = places.get(COMMITTEE)
    if second is not None and second in [one for path, one in places.items() if path != COMMITTEE]:
        allowed = 'must differ from the calculator that runs the explorations'
        faults.append(Fault(Code.VALUE_INVALID, COMMITTEE, f'kind {second.kind}', allowed))
    if 'sampling' in sections and 'exploration' in sections and second is None:
        allowed = 'requires a second calculator, exploration.committee'
        faults += [
            Fault(Code.VALUES_INCOMPLETE, path, "'disagreement'", allowed)
            for path in disagreement_places(sections['sampling'].model_dump())
        ]
    return (
        faults
        + list(_descriptor_faults(sections))
        + list(_kind_faults(sections))
        + list(_reference_faults(sections))
        + list(_stash_faults(sections))
        + list(_seed_faults(sections.get('generation', ()), [*places.values(), *labelling_calculators(sections)]))
        + list(labelling_faults(sections, [one for path, one in places.items() if path != COMMITTEE]))
        + list(rounds_faults(sections, {path: one for path, one in places.items() if path != COMMITTEE}))
        + list(_override_faults(sections))
        + list(_committee_faults(sections, places))
    )


def _calculators(sections: Mapping[str, Any]) -> Iterator[tuple[str, CalculatorSettings]]:
    """Yield the calculators that evaluate structures, each with its place in the config."""
    codes = sections['execution'].codes if 'execution' in sections else ()
    for number, code in enumerate(codes):
        if code.calculator is not None:
            yield f'execution.codes[{number}].calculator', code.calculator
    if 'calculator' in sections and (not codes or any(code.calculator is None for code in codes)):
        yield 'calculator', sections['calculator']
    if 'exploration' in sections and sections['exploration'].committee is not None:
        yield COMMITTEE, sections['exploration'].committee.calculator


def _descriptor_faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each learned descriptor that the calculator cannot compute."""
    if not {'sampling', 'calculator', 'execution'} <= sections.keys():
        return
    codes = sections['execution'].codes
    calculator = (codes[0].calculator if codes else None) or sections['calculator']
    supporting = [kind for kind in CALCULATORS if CALCULATORS.load(kind).has_descriptors]
    for place, _, found in required_descriptors(sections['sampling'].model_dump()):
        if found['kind'] == 'learned' and calculator.kind not in supporting:
            allowed = f'the calculator {calculator.kind} has no learned descriptors; use {one_of(supporting)}'
            yield Fault(Code.CALCULATOR_UNSUITABLE, f'sampling{place}.kind', "'learned'", allowed)


def _kind_faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each kind or label in `sampling` that no entry has, and one if none is left for training."""
    if not {'sampling', 'generation'} <= sections.keys():
        return
    sampling, entries = sections['sampling'], sections['generation']
    kinds = sorted({entry.kind for entry in entries})
    labels = sorted({entry.label for entry in entries if entry.label})
    # The default of always_selected_kinds may name kinds that the config does not use.
    for field, shown, known in (
        ('held_out_kinds', kinds, kinds),
        ('held_out_labels', labels, labels),
        ('always_selected_kinds', kinds, [*kinds, *TRAINING_KINDS]),
    ):
        for number, value in enumerate(getattr(sampling, field)):
            if value not in known:
                nearest = next(iter(get_close_matches(value, known, n=1)), None)
                what = 'label' if field == 'held_out_labels' else 'kind'
                allowed = f'no entry of generation has this {what}; ' + (
                    f'use {one_of(shown)}' if shown else f'set the {what} of an entry'
                )
                yield Fault(Code.CHOICE_UNKNOWN, f'sampling.{field}[{number}]', repr(value), allowed, nearest)
    for number, entry in enumerate(entries):
        if entry.label in sampling.held_out_labels and entry.kind in sampling.always_selected_kinds:
            allowed = f'this entry is held out, but always_selected_kinds contains {entry.kind}; keep one of the two'
            yield Fault(Code.VALUES_EXCLUDE, f'generation[{number}].label', repr(entry.label), allowed)
    if all(entry.kind in sampling.held_out_kinds or entry.label in sampling.held_out_labels for entry in entries):
        field = 'held_out_kinds' if set(kinds) <= set(sampling.held_out_kinds) else 'held_out_labels'
        allowed = 'must leave at least one entry for training'
        yield Fault(Code.VALUE_INVALID, f'sampling.{field}', ', '.join(getattr(sampling, field)), allowed)


def _reference_faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each reference dataset that is an unreadable file. Campaigns are looked up on submission."""
    exploration, sampling = sections.get('exploration'), sections.get('sampling')  # None if they are invalid
    given = sampling and sampling.reference_dataset, exploration and reference_of(exploration.novelty)
    for place, reference in zip(('sampling', 'exploration.novelty'), given, strict=True):
        if isinstance(reference, Path):
            try:
                check_reference_file(reference)
            except AutopipeError as error:
                yield Fault(error.code, f'{place}.reference_dataset', repr(str(reference)), str(error))


def _stash_faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each ``stash`` if no full trajectories are written."""
    if not {'exploration', 'execution'} <= sections.keys():
        return
    if sections['exploration'].full_trajectory_interval is None:
        execution = sections['execution']
        places = {f'execution.codes[{number}]': code.stash for number, code in enumerate(execution.codes)}
        for place, stash in ({'execution': execution.stash} | places).items():
            if stash is not None:
                allowed = 'requires exploration.full_trajectory_interval; otherwise no full trajectories are written'
                yield Fault(Code.VALUES_INCOMPLETE, f'{place}.stash', repr(stash.folder), allowed)


def _override_faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the faults in the explorations of single entries."""
    section = sections.get('exploration')  # None if it is invalid
    for number, entry in enumerate(sections.get('generation', ())):
        where = f'generation[{number}].exploration'
        for name, value in settings_of_all_seeds(entry.exploration).items():
            allowed = 'must be the same for all seeds; set it in exploration'
            yield Fault(Code.VALUE_INVALID, f'{where}.{name}', repr(value), allowed)
        kind = entry.exploration.get('kind', DEFAULT_KIND if section is None else section.kind)
        if kind not in KINDS:
            nearest = next(iter(get_close_matches(str(kind), list(KINDS), n=1)), None)
            yield Fault(Code.KIND_UNKNOWN, f'{where}.kind', repr(kind), f'must be one of {", ".join(KINDS)}', nearest)
            continue
        if section is None:
            continue  # the entry's settings depend on those of the section
        data = merge_override(section, entry.exploration)
        try:
            KINDS[kind].model_validate(data)
        except ValidationError as error:
            for fault in faults_of(error, data, KINDS[kind]):
                if fault.path == WHOLE:
                    yield replace(fault, path=where, given=value_text(entry.exploration))
                else:
                    yield replace(fault, path=f'{where}.{fault.path}')


def _committee_faults(sections: Mapping[str, Any], places: Mapping[str, CalculatorSettings]) -> Iterator[Fault]:
    """Yield a fault for each setting that needs a committee as calculator, and for each committee that is not used."""
    second = places.get(COMMITTEE)
    if second is not None and second.kind == COMMITTEE_KIND:
        yield Fault(Code.VALUE_INVALID, f'{COMMITTEE}.kind', repr(second.kind), 'must be a single calculator')
    if not {'exploration', 'generation'} <= sections.keys():
        return
    needing = dict.fromkeys(_places_of_a_committee(sections['exploration'], sections['generation']))
    for path, calculator in places.items():
        if path == COMMITTEE:
            continue
        if calculator.kind != COMMITTEE_KIND:
            allowed = f'requires {path}.kind: {COMMITTEE_KIND}'
            for place in needing:
                yield Fault(Code.CALCULATOR_UNSUITABLE, place, f'kind {calculator.kind}', allowed)
        elif not needing:
            allowed = 'requires novelty of the kind disagreement, or a bias; otherwise, use its first member alone'
            yield Fault(Code.VALUES_EXCLUDE, f'{path}.kind', repr(calculator.kind), allowed)


def _places_of_a_committee(section: AnyExploration, entries: Sequence[GeneratorSettings]) -> Iterator[str]:
    """Yield the place of each setting that needs a committee in the explorations of the entries."""
    for number, entry in enumerate(entries):
        try:
            settings = read_exploration(merge_override(section, entry.exploration))
        except ValidationError:
            continue  # reported elsewhere
        for name in committee_settings(settings):
            yield f'generation[{number}].exploration.{name}' if name in entry.exploration else f'exploration.{name}'


def disagreement_places(settings: Any, path: str = 'sampling') -> Iterator[str]:
    """Yield the place of each sampler, at any depth, that selects by the disagreement of a committee."""
    if isinstance(settings, dict):
        if settings.get('kind') == 'disagreement':
            yield f'{path}.kind'
        for name, value in settings.items():
            yield from disagreement_places(value, f'{path}.{name}')
    elif isinstance(settings, list | tuple):
        for number, value in enumerate(settings):
            yield from disagreement_places(value, f'{path}[{number}]')


def _seed_faults(entries: Sequence[GeneratorSettings], calculators: Collection[CalculatorSettings]) -> Iterator[Fault]:
    supported = {one.kind: elements for one in calculators if (elements := CALCULATORS.make(one).known_elements)}
    for number, entry in enumerate(entries):
        where = f'generation[{number}]'
        try:
            elements = entry.elements()
        except AutopipeError as error:
            yield Fault(error.code, where, f'kind {entry.kind}', str(error))
            continue
        for symbol in sorted(entry.magnetic_moments.keys() - elements if elements else ()):
            allowed = f'no seed of this entry contains {symbol}, only {", ".join(sorted(elements))}'
            place = f'{where}.magnetic_moments.{symbol}'
            yield Fault(Code.KEY_UNKNOWN, place, f'{entry.magnetic_moments[symbol]:g}', allowed)
        for kind, symbols in supported.items():
            if not elements <= symbols:
                allowed = f'the calculator {kind} supports only {", ".join(sorted(symbols))}'
                yield Fault(Code.ELEMENT_UNSUPPORTED, where, ', '.join(sorted(elements - symbols)), allowed)
