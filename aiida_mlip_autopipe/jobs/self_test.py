"""The self-test of an environment, which checks that it can run jobs with a calculator."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from ase.build import bulk
from ase.data import chemical_symbols

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import CalculatorLoader, Loaded, resolve_device
from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.allocated import allocated_threads
from aiida_mlip_autopipe.jobs.contract import CONTRACT_VERSION, IMAGE_VARIABLE
from aiida_mlip_autopipe.jobs.environment import read_environment
from aiida_mlip_autopipe.jobs.loading import make_loader
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION


def run_self_test(calculator: dict[str, Any]) -> dict[str, Any]:
    """Load a calculator and evaluate one structure.

    Parameters
    ----------
    calculator
        Settings of the calculator, as in ``job.json``.

    Returns
    -------
    dict
        A report as JSON: ``ok``, ``message``, versions and the ``environment`` record. If a model was loaded, it also
        has ``device``, ``load_s``, ``force_call_s``, and the model's ``elements`` (symbols) and ``cutoff_A``.
    """
    report: dict[str, Any] = {
        'ok': False,
        'message': '',
        'package': __version__,
        'contract_version': CONTRACT_VERSION,
        'runner_version': RUNNER_VERSION,
        'python': platform.python_version(),
        'threads': allocated_threads(os.environ),
        'image_sha256': os.environ.get(IMAGE_VARIABLE) or None,
        'calculator': calculator.get('kind'),
    }
    try:
        missing = _missing_settings(calculator)
        if missing == {'model'}:
            return report | _check_package(str(calculator['kind']))
        if missing and set(calculator) == {'kind'}:
            return report | _check_environment(str(calculator['kind']))
        loader = make_loader(calculator)
        report['environment'] = read_environment(loader).model_dump(mode='json')
        report['calculator_version'] = loader.version()
        loader.check()
        started = time.monotonic()
        loaded = loader.load()
        report.update(load_s=time.monotonic() - started, device=loaded.device, precision=loaded.precision)
        report['environment']['device'] = loaded.device
        report.update(_describe_model(loader, loaded))
        if loader.members:
            pairs = zip(loader.members, loaded.members, strict=True)
            # A committee has no model; its members do.
            report.update(model_sha256=None, members=[_describe_model(*pair) for pair in pairs])
        number = 29 if loaded.elements is None or 29 in loaded.elements else min(loaded.elements)
        atoms = bulk(chemical_symbols[number], 'fcc', a=3.6, cubic=True)
        started = time.monotonic()
        evaluation = Evaluator(atoms, loaded.calculator, with_stress=False).evaluate(atoms.positions, atoms.cell.array)
        report.update(force_call_s=time.monotonic() - started, ok=evaluation.finite)
        if not evaluation.finite:
            report['message'] = 'the energy or the forces are not finite'
    except AutopipeError as error:
        report['message'] = str(error)
    except Exception as error:
        report['message'] = f'{type(error).__name__}: {error}'
    return report


def _describe_model(loader: CalculatorLoader, loaded: Loaded) -> dict[str, Any]:
    """Return the properties of a loaded model, as JSON."""
    elements = None if loaded.elements is None else [chemical_symbols[number] for number in sorted(loaded.elements)]
    return {
        'model_sha256': loader.check(),
        'model_name': loader.model_name(),
        'model_is_shipped': loader.uses_shipped_model,
        'elements': elements,
        'cutoff_A': loaded.cutoff_A,
        'versions': {loader.package: loader.version()},
    }


def _missing_settings(calculator: dict[str, Any]) -> set[str]:
    """Return the required settings that are missing, so that nothing can be loaded."""
    kind = str(calculator.get('kind'))
    if kind not in CALCULATORS:
        return set()
    fields = CALCULATORS.load(kind).settings_class.model_fields
    return {name for name, field in fields.items() if field.is_required() and name not in calculator}


def _check_package(kind: str) -> dict[str, Any]:
    """Return the report on a calculator without a model: whether its package is installed, and which version."""
    loader_class = CALCULATORS.load(kind)
    loader = loader_class(loader_class.settings_class.model_construct(kind=kind, cutoff_A=1.0))
    found = loader.version()
    if found is None:
        return {'message': f'the package {loader.package!r} is not installed'}
    device = resolve_device('auto') if loader.uses_torch else 'cpu'
    return {
        'ok': True,
        'calculator_version': found,
        'environment': read_environment(loader, device).model_dump(mode='json'),
        'message': 'the settings have no model, so only the package was checked',
    }


def _check_environment(kind: str) -> dict[str, Any]:
    """Return the report on a calculator whose package is known only with its settings, such as a committee."""
    return {
        'ok': True,
        'calculator_version': None,
        'environment': read_environment().model_dump(mode='json'),
        'message': f'{kind} has no default settings, so it is tested with those of a campaign',
    }
