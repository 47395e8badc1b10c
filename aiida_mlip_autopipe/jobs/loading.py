"""The calculator of a job: its loader, its environment and its model."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    CalculatorRefusedError,
    Loaded,
)
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.randomness import global_random_state_restored
from aiida_mlip_autopipe.jobs.environment import (
    Environment,
    SourceNotFoundError,
    compare_environments,
    read_environment,
)
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, refusing_settings
from aiida_mlip_autopipe.jobs.runner import software_versions


def make_loader(content: dict[str, Any], device: str | None = None) -> CalculatorLoader:
    """Return the loader for the settings of a calculator.

    Parameters
    ----------
    content
        The settings.
    device
        Device that replaces the one in the settings; None to keep it.

    Raises
    ------
    JobRefusedError
        If the kind is unknown or the settings are invalid.
    """
    with refusing_settings('calculator'):
        loader = CALCULATORS.load(str(content.get('kind')))
        if device is not None and 'device' in loader.settings_class.model_fields:
            content = content | {'device': device}
        return loader(loader.settings_class.model_validate(content))


def check_environment(
    expected: Environment, loader: CalculatorLoader | None, device: str | None = None, *, may_differ: bool = False
) -> Environment:
    """Refuse an environment that differs from the record of the job, and return the record of this environment.

    Parameters
    ----------
    expected
        The record of the job.
    loader
        The calculator; None for a job without a calculator.
    device
        The device of the calculator; None while it is not loaded.
    may_differ
        Whether a different environment is accepted.

    Raises
    ------
    JobRefusedError
        If there are differences. The message lists them.
    """
    try:
        found = read_environment(loader, device)
    except SourceNotFoundError as error:
        raise JobRefusedError(Code.CALCULATOR_MISSING, str(error)) from error
    differences = compare_environments(expected, found)
    if differences and not may_differ:
        raise JobRefusedError(Code.ENVIRONMENT_CHANGED, '; '.join(map(str, differences)))
    return found


def load_model(loader: CalculatorLoader) -> Loaded:
    """Import and load a calculator.

    Raises
    ------
    CalculatorRefusedError
        If the calculator cannot be imported, or its model cannot be loaded.
    """
    with refusing_to_load(loader):
        return loader.load()


@contextmanager
def refusing_to_load(loader: CalculatorLoader) -> Iterator[None]:
    """Turn errors in loading a calculator into refusals, and restore the state of the global random number generators.

    Raises
    ------
    CalculatorRefusedError
        If the calculator cannot be imported, or its model cannot be loaded.
    """
    try:
        with global_random_state_restored():
            yield
    except CalculatorRefusedError:
        raise
    except ImportError as error:
        raise CalculatorRefusedError(
            Code.CALCULATOR_MISSING, f'the calculator {loader.settings.kind!r} cannot be imported: {error}'
        ) from error
    except Exception as error:
        model = loader.model_name() or loader.settings.kind
        raise CalculatorRefusedError(
            Code.MODEL_NOT_LOADED, f'the model {model!r} cannot be loaded: {type(error).__name__}: {error}'
        ) from error


def check_elements(loader: CalculatorLoader, loaded: Loaded, atoms: Atoms) -> None:
    """Refuse a structure with an element that the calculator does not support.

    Raises
    ------
    CalculatorRefusedError
        If an element is not supported.
    """
    if loaded.elements is not None:
        unknown = {
            symbol for symbol, number in zip(atoms.symbols, atoms.numbers, strict=True) if number not in loaded.elements
        }
        loader.refuse_elements(unknown)


def describe_loaded(
    environment: Environment, loader: CalculatorLoader, loaded: Loaded, load_s: float
) -> dict[str, Any]:
    """Return the fields of a result that describe the loaded calculator.

    Parameters
    ----------
    environment
        The record of the environment in which the job runs.
    loader, loaded
        The calculator.
    load_s
        Duration of loading in seconds.
    """
    return {
        'load_s': load_s,
        'device': loaded.device,
        'precision': loaded.precision,
        'environment': environment,
        'versions': software_versions(loader.version()),
    }


def release_memory() -> None:
    """Free the memory of calculators that are no longer used, on the host and on a GPU."""
    gc.collect()
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
