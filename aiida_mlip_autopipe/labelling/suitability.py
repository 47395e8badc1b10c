"""Whether a labeller can label structures with its settings, before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.calculators import CALCULATORS, CalculatorRefusedError, CalculatorSettings
from aiida_mlip_autopipe.calculators.gpaw_setups import hard_elements
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.calculators.materials_project import describe_missing_U, missing_hubbard_U, used_hubbard_U
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.structures.magnetism import high_spin_moments, magnetic_elements
from aiida_mlip_autopipe.structures.vacuum import is_few_atoms

# Initial charges are floats whose sum may not be exactly zero.
NEUTRAL = 1e-6


def find_unsuitable(
    structures: Sequence[Atoms], calculator: CalculatorSettings, *, place: str = 'labelling'
) -> list[Fault]:
    """Return what is wrong with the settings of a labeller for some structures.

    Parameters
    ----------
    structures
        The structures to label.
    calculator
        Settings of the calculator that labels them.
    place
        Place of the settings, for the messages.
    """
    return [*_element_faults(structures, calculator, place), *find_undecided(structures, calculator, place=place)]


def find_undecided(structures: Sequence[Atoms], settings: Settings, *, place: str = 'labelling') -> list[Fault]:
    """Return what the settings of a DFT code leave undecided about spin and charge for some structures.

    Parameters
    ----------
    structures
        The structures to label.
    settings
        The settings. Those without the fields ``spin_polarized`` or ``charge`` leave nothing undecided.
    place
        Place of the settings, for the messages.
    """
    return [*_spin_faults(structures, settings, place), *_charge_faults(structures, settings, place)]


@dataclass(frozen=True)
class Explorer:
    """The calculator that explored the structures.

    Attributes
    ----------
    kind
        Its kind, such as ``mace``.
    model
        Name of the shipped model or of the model file.
    fidelity
        Fidelity of a multi-fidelity model.
    """

    kind: str
    model: str | None
    fidelity: str | None = None


def labelling_warnings(
    structures: Sequence[Atoms], explorers: Iterable[Explorer], settings: Settings, *, place: str = 'labelling'
) -> list[str]:
    """Return sentences about labels that would differ from the training data of the potential, or have no stress.

    Parameters
    ----------
    structures
        The structures to label.
    explorers
        The calculators that explored the structures.
    settings
        Settings of the DFT code that labels them.
    place
        Place of the settings, for the messages.
    """
    compositions = [set(atoms.symbols) for atoms in structures]
    found = [
        describe_other_hubbard_U(compositions, explorers, settings, place=place),
        describe_missing_stress(structures, settings, place=place),
    ]
    return [sentence for sentence in found if sentence is not None]


def describe_other_hubbard_U(
    compositions: Iterable[Collection[str]],
    explorers: Iterable[Explorer],
    settings: Settings,
    *,
    place: str = 'labelling',
) -> str | None:
    """Return a sentence if the labels and the data on which the potential was trained have different U values.

    Parameters
    ----------
    compositions
        The symbols of the elements of each structure.
    explorers
        The calculators that explored the structures.
    settings
        Settings of the DFT code that labels them.
    place
        Place of these settings.

    Returns
    -------
    str or None
        The sentence with the settings for the same U values; None if the values are the same or none were used.
    """
    given = getattr(settings, 'hubbard_U_eV', None)
    if given is None:
        return None
    models = [one.model or one.kind for one in explorers if used_hubbard_U(one.kind, one.model, one.fidelity)]
    missing = missing_hubbard_U(compositions, given) if models else {}
    return describe_missing_U(models[0], missing, f'{place}.hubbard_U_eV') if missing else None


def describe_missing_stress(structures: Sequence[Atoms], settings: Settings, *, place: str) -> str | None:
    """Return a sentence if labels would have no stress because the cutoff is too low; see `has_accurate_stress`.

    Parameters
    ----------
    structures
        The structures. Those that are not periodic in all directions have no stress anyway.
    settings
        Settings of the calculator that labels them.
    place
        Place of these settings.
    """
    if not isinstance(settings, GPAWSettings):
        return None
    cutoff_eV = settings.plane_wave_cutoff_eV
    periodic = [atoms for atoms in structures if atoms.pbc.all()]
    hard = hard_elements(set().union(*(atoms.symbols for atoms in periodic)), cutoff_eV)
    if not hard:
        return None
    return (
        f'{place}.plane_wave_cutoff_eV: got {cutoff_eV:g}; the labels of structures with {", ".join(hard)} have no '
        f'stress, because it could be wrong by 5 to 60 GPa; for stresses, use at least {max(hard.values())}'
    )


def _element_faults(structures: Sequence[Atoms], calculator: CalculatorSettings, place: str) -> Iterator[Fault]:
    symbols = set().union(*(atoms.symbols for atoms in structures))
    try:
        CALCULATORS.make(calculator).check_elements(symbols)
    except CalculatorRefusedError as refused:
        yield Fault(refused.code, f'{place}.kind', repr(calculator.kind), f'{refused}; remove these rows with --select')


def _spin_faults(structures: Sequence[Atoms], calculator: Settings, place: str) -> Iterator[Fault]:
    """Yield a fault if spin polarisation is undecided for magnetic structures, or if it would start without moments."""
    if 'spin_polarized' not in type(calculator).model_fields:
        return
    decided: bool | None = calculator.spin_polarized  # type: ignore[attr-defined]
    if decided is False:
        return
    # One to three atoms in vacuum are always spin-polarised and start from the moments of the free atoms.
    condensed = [atoms for atoms in structures if not is_few_atoms(atoms)]
    without = [atoms for atoms in condensed if not atoms.get_initial_magnetic_moments().any()]
    if decided is None:
        magnetic = magnetic_elements(condensed)
        n_with = len(condensed) - len(without)
        if magnetic or n_with:
            found = ', '.join([*magnetic, *([f'{counted(n_with, "structure")} with initial moments'] * bool(n_with))])
            yield Fault(
                Code.VALUES_INCOMPLETE,
                f'{place}.spin_polarized',
                f'no value for {found}',
                f'set it to true{_with_moments(magnetic)}, or to false for calculations without spin polarisation',
            )
        return
    given = calculator.initial_magnetic_moments  # type: ignore[attr-defined]
    magnetic = [symbol for symbol in magnetic_elements(without) if symbol not in given]
    if magnetic:
        yield Fault(
            Code.VALUES_INCOMPLETE,
            f'{place}.initial_magnetic_moments',
            f'no value for {", ".join(magnetic)}',
            f'without a moment, the calculation stays non-magnetic; set it{_with_moments(magnetic)}',
        )


def _with_moments(magnetic: Sequence[str]) -> str:
    if not magnetic:
        return ''
    moments = ', '.join(f'{symbol}: {moment:g}' for symbol, moment in high_spin_moments(magnetic).items())
    return f' with initial_magnetic_moments: {{{moments}}}'


def _charge_faults(structures: Sequence[Atoms], calculator: Settings, place: str) -> Iterator[Fault]:
    """Yield a fault if the total charge is undecided for structures whose formal charges do not balance."""
    if 'charge' not in type(calculator).model_fields or calculator.charge is not None:  # type: ignore[attr-defined]
        return
    totals = np.array([atoms.get_initial_charges().sum() for atoms in structures])
    charged = np.flatnonzero(np.abs(totals) > NEUTRAL)
    if len(charged):
        yield Fault(
            Code.VALUES_INCOMPLETE,
            f'{place}.charge',
            f'no value for {counted(len(charged), "structure")} whose initial charges do not sum to 0 '
            f'(the first sum is {totals[charged[0]]:+g})',
            'set it to 0 if these are formal charges, as for a neutral cell with defects, or to the total charge of '
            'all structures',
        )
