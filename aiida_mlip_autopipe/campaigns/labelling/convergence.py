"""Recommend converged settings of a labeller: its calculator runs on this machine for a few structures of a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.codes import LOCAL_COMPUTER, code_label, is_local, run_local_job
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, RESULT_FILE
from aiida_mlip_autopipe.labelling import (
    LABELLERS,
    LABELLING_VERSION,
    Failure,
    Label,
    LabellingSettings,
    RunnerLabeller,
)
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob
from aiida_mlip_autopipe.labelling.convergence import (
    DEFAULT_SERIES,
    Converged,
    Series,
    choose_structures,
    converge,
    expanded,
    points_of,
    settings_with,
)
from aiida_mlip_autopipe.labelling.cost import predict_labels
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.structures.structures_file import structure_arrays
from aiida_mlip_autopipe.workflows.inputs.codes import load_code
from aiida_mlip_autopipe.workflows.inputs.environments import find_environment


@dataclass(frozen=True, eq=False)
class ConvergencePlan:
    """What is computed to find converged settings.

    Attributes
    ----------
    settings
        The section ``labelling``.
    rows
        Ids of the chosen rows.
    structures
        Their structures.
    series
        The settings that are varied.
    n_calculations
        Number of calculations.
    core_s
        Predicted core seconds; None for a calculator without a cost model.
    """

    settings: LabellingSettings
    rows: tuple[int, ...]
    structures: tuple[Atoms, ...]
    series: tuple[Series, ...]
    n_calculations: int
    core_s: float | None


def plan_convergence(
    settings: LabellingSettings, file: Path, series: Sequence[Series] = (), *, n_structures: int = 3
) -> ConvergencePlan:
    """Choose structures of a dataset, and predict the cost of varying settings.

    Parameters
    ----------
    settings
        The section ``labelling``.
    file
        The dataset.
    series
        The settings to vary; by default, the cutoff and the k-points of a plane-wave code.
    n_structures
        How many structures to choose.

    Raises
    ------
    AutopipeError
        If the labeller does not run on this machine or lacks these settings, if all structures are too large, or if
        the values are in the wrong order.
    """
    labeller = LABELLERS.make(settings)
    if not isinstance(labeller, RunnerLabeller):
        raise AutopipeError(
            Code.CALCULATOR_UNSUITABLE,
            f'labelling.kind: {settings.kind!r} runs processes of another AiiDA plugin; use one of '
            f'{", ".join(kind for kind in LABELLERS if issubclass(LABELLERS.load(kind), RunnerLabeller))}',
        )
    content = labeller.calculator_settings().model_dump(mode='json')
    if not series:
        series = DEFAULT_SERIES
        if missing := [one.name for one in series if one.name not in content]:
            raise AutopipeError(
                Code.VALUE_MISSING,
                f'labelling.kind: {settings.kind!r} has no {missing[0]}; name the settings to vary, with values from '
                "the cheapest to the most expensive one, such as --vary 'parameters.encut=300,400,500,700'",
            )
    with Dataset(file) as dataset:
        rows = list(dataset.query(''))
    chosen = choose_structures([row.atoms for row in rows], n_structures, settings.max_atoms)
    structures = tuple(rows[index].atoms for index in chosen)
    probes = [*structures, *map(expanded, structures)]
    points = points_of(series)
    settings_class = CALCULATORS.load(content['kind']).settings_class
    calculators = [settings_class.model_validate(settings_with(content, point)) for point in points]
    predictions = [predict_labels(probes, calculator) for calculator in calculators]
    costs = [None if one is None else one.core_s for one in predictions]
    moderate = {one.name: one.moderate for one in series}
    for one in series:
        cheapest, dearest = (
            costs[points.index(moderate | {one.name: value})] for value in one.values[:: len(one.values) - 1]
        )
        if cheapest is not None and dearest is not None and cheapest > dearest:
            raise AutopipeError(
                Code.WRONG_PATTERN,
                f'--vary {one.name}: {one.values[0]:g} costs more than {one.values[-1]:g}; write the values from the '
                'cheapest to the most expensive one',
            )
    return ConvergencePlan(
        settings=settings,
        rows=tuple(rows[index].id or 0 for index in chosen),
        structures=structures,
        series=tuple(series),
        n_calculations=len(points) * len(probes),
        core_s=None if None in costs else sum(cost for cost in costs if cost is not None),
    )


def run_convergence(
    plan: ConvergencePlan, *, force_error_eV_A: float, energy_error_eV: float, notify: Callable[[str], None]
) -> list[Converged]:
    """Compute the structures of a plan on this machine, and return which values are accurate enough.

    Parameters
    ----------
    plan
        The plan.
    force_error_eV_A, energy_error_eV
        Target errors of force components in eV/Å, and of relative energies in eV/atom.
    notify
        Called with a message before each calculation.

    Raises
    ------
    AutopipeError
        If the code is on another computer or does not run, or if no structure can be computed.
    """
    settings = plan.settings
    labeller = LABELLERS.make(settings)
    assert isinstance(labeller, RunnerLabeller)
    calculator = labeller.calculator_settings().model_dump(mode='json')
    install = f"'mlip-autopipe calculator install {calculator['kind']}'"
    default = f'{code_label(calculator["kind"])}@{LOCAL_COMPUTER}'
    code = load_code(settings.code or default, 'labelling.code', '' if settings.code else f'; run {install}')
    if not is_local(code):
        raise AutopipeError(
            Code.CODE_BROKEN,
            f'labelling.code: {code.full_label} does not use an environment on this machine, where '
            f"'mlip-autopipe label converge' runs; create one with {install}",
        )
    # The self-test of a code that was never used refuses an environment without the calculator.
    environment = find_environment(code, calculator, notify)
    n_points = len(points_of(plan.series))
    points = enumerate(points_of(plan.series), start=1)

    def evaluate(varied: dict[str, Any], structures: Sequence[Atoms]) -> list[Label | Failure]:
        number, point = next(points)
        notify(f'{number} of {n_points}: ' + ', '.join(f'{name} {value:g}' for name, value in point.items()))
        job = LabellingJob(
            environment=environment,
            labelling_version=LABELLING_VERSION,
            calculator=varied,
            energy=labeller.energy,
            time_limit_s=settings.time_limit_s,
        )
        return _run_job(code, job, structures)

    return converge(
        plan.structures,
        calculator,
        plan.series,
        evaluate,
        force_error_eV_A=force_error_eV_A,
        energy_error_eV=energy_error_eV,
    )


def _run_job(code: orm.AbstractCode, job: LabellingJob, structures: Sequence[Atoms]) -> list[Label | Failure]:
    """Run a labelling job in a temporary folder."""
    with TemporaryDirectory(prefix='mlip-autopipe-') as name:
        folder = Path(name)
        (folder / JOB_FILE).write_text(job.model_dump_json(), encoding='utf-8')
        np.savez(folder / STRUCTURES_FILE, **structure_arrays(structures))  # type: ignore[arg-type]
        message = run_local_job(code, 'aiida_mlip_autopipe.labelling', folder)
        result = json.loads((folder / RESULT_FILE).read_text()) if (folder / RESULT_FILE).exists() else {}
        if result.get('outcome') != 'completed':
            raise AutopipeError(
                Code.CODE_BROKEN, f'the job of {code.full_label} failed: {result.get("message") or message}'
            )
        outcomes = read_labels(folder / LABELS_FILE)
    return [outcomes[label_key(atoms, job.level_hash)] for atoms in structures]
