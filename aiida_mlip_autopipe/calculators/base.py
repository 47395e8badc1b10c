"""What a calculator's module provides: settings that load nothing, and a loader that only the job calls."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputModel
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.settings import Settings


class CalculatorRefusedError(AutopipeError):
    """A calculator that cannot be used; its ``code`` is the reason."""


class CalculatorSettings(Settings):
    """What all calculators have in common."""

    kind: str
    """Which calculator."""
    cutoff_A: float = Field(gt=0)
    """Range of the calculator in Å, known without loading it; seeds are made large enough for it."""


class ModelSettings(CalculatorSettings):
    """A calculator with a model file."""

    model: InputModel
    """The model file, or the name of weights that the calculator's package ships."""
    model_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the model file; a job refuses a file with another one. Found at submission where not given."""
    store_model: bool = True
    """Whether AiiDA's graph stores the content of a model file, which may then be deleted after submission. With
    ``false`` it stores the sha256 alone, and jobs on this machine read the file itself. Shipped models are
    never stored."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """``auto`` takes a GPU if there is one."""
    dtype: Literal['float32', 'float64'] = 'float32'
    """Floating point type of the model."""


@dataclass(frozen=True)
class Loaded:
    """A calculator ready for use.

    Attributes
    ----------
    calculator
        The ASE calculator. Its forces depend on nothing but the structure.
    device, precision
        Where and in which floating point type it computes.
    elements
        Atomic numbers it knows; None where it does not say.
    cutoff_A
        Its range in Å; None where it does not say.
    """

    calculator: Any
    device: str = 'cpu'
    precision: str = 'float64'
    elements: frozenset[int] | None = None
    cutoff_A: float | None = None


Describer = Callable[[Atoms], np.ndarray]
"""Returns the learned descriptors of the atoms of a structure, (n, d), which do not change when it is turned."""


class CalculatorLoader(ABC):
    """Loads one kind of calculator.

    Parameters
    ----------
    settings
        Its settings.
    """

    settings_class: ClassVar[type[CalculatorSettings]]
    package: str
    """The distribution that brings the calculator, for its version."""
    module: str
    """The module to import, for the check that it is there."""
    extra: ClassVar[str | None] = None
    """The extra of this package that installs it."""
    known_elements: ClassVar[frozenset[str] | None] = None
    """Symbols of the elements it knows, where they are the same for every model; None where only the model knows."""
    has_descriptors: ClassVar[bool] = False
    """Whether `load_describer` gives the learned descriptors of a structure's atoms."""
    uses_torch: ClassVar[bool] = True
    """Whether its numbers may depend on torch."""
    shipped_models: ClassVar[Mapping[str, str]] = {}
    """Models that its package ships: their files below the package's folder, by their names in lower case."""

    def __init__(self, settings: Any):
        self.settings = settings

    @property
    def uses_shipped_model(self) -> bool:
        """Whether the settings name a model that the package ships; any other model is a file."""
        model = getattr(self.settings, 'model', None)
        if model is None or not self.shipped_models:
            return False
        return model.lower() in self.shipped_models or not ('/' in model or Path(model).is_file())

    def resolve_model(self) -> Path | None:
        """Return the path of the model file without importing the calculator; None where there is no file.

        Raises
        ------
        CalculatorRefusedError
            If there is no such file, or no shipped model of that name.
        """
        if not isinstance(self.settings, ModelSettings):
            return None
        if not self.uses_shipped_model:
            return existing_file(self.settings.model, self.settings.model_sha256)
        file = self.shipped_models.get(self.settings.model.lower())
        if file is None:
            raise CalculatorRefusedError(
                Code.MODEL_NOT_LOADED,
                f'there is no file {self.settings.model!r}, and no shipped model of that name; '
                f'there are {", ".join(self.shipped_models)}',
            )
        spec = find_spec(self.module)
        if spec is None or spec.origin is None:
            raise CalculatorRefusedError(
                Code.CALCULATOR_MISSING, f'the model comes with the package {self.package!r}, which is not installed'
            )
        return existing_file(str(Path(spec.origin).parent / file))

    def model_file(self) -> Path:
        """Return the path of the model file of a calculator that always has one.

        Raises
        ------
        CalculatorRefusedError
            As `resolve_model` does.
        """
        path = self.resolve_model()
        assert path is not None
        return path

    @abstractmethod
    def load(self) -> Loaded:
        """Import the calculator and load its model."""

    def load_describer(self) -> tuple[Loaded, Describer]:
        """Import and load the calculator, and return it with what computes its learned descriptors.

        Raises
        ------
        CalculatorRefusedError
            If it has none.
        """
        raise CalculatorRefusedError(
            Code.SETTINGS_REFUSED, f'the calculator {self.settings.kind!r} has no learned descriptors'
        )

    def check(self) -> str | None:
        """Check all that is cheaper than importing: the package, the model file and its hash.

        Returns
        -------
        str or None
            The sha256 of the model file.

        Raises
        ------
        CalculatorRefusedError
            If the package or the file is missing, or the file is not the one expected.
        """
        if find_spec(self.module.partition('.')[0]) is None:
            hint = f'; install aiida-mlip-autopipe[{self.extra}]' if self.extra else ''
            raise CalculatorRefusedError(
                Code.CALCULATOR_MISSING,
                f'the calculator {self.settings.kind!r} needs the package {self.package!r}, which is not installed '
                f'in the environment of this job{hint}',
            )
        path = self.resolve_model()
        if path is None:
            return None
        found = file_sha256(path)
        if self.settings.model_sha256 not in (None, found):
            raise CalculatorRefusedError(
                Code.MODEL_MISMATCH,
                f'the model file {path} has the sha256 {found[:12]}…, expected was {self.settings.model_sha256[:12]}…',
            )
        return found

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements that no model of this kind knows, where that can be told without loading one.

        Raises
        ------
        CalculatorRefusedError
            If there is one.
        """
        if self.known_elements is not None:
            self.refuse_elements(set(symbols) - self.known_elements)

    def refuse_elements(self, unknown: Collection[str]) -> None:
        """Refuse the elements, if there are any, that the calculator does not know."""
        if unknown:
            raise CalculatorRefusedError(
                Code.ELEMENT_UNSUPPORTED,
                f'the calculator {self.settings.kind!r} does not know {", ".join(sorted(unknown))}',
            )

    def version(self) -> str | None:
        """Return the version of the calculator's package, without importing it."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def sources(self) -> tuple[str, ...]:
        """Return the names of the user's own modules and files that the results depend on."""
        return ()

    def model_name(self) -> str | None:
        """Return the name of the model file or of the shipped weights."""
        model = getattr(self.settings, 'model', None)
        if not model:
            return None
        return str(model).lower() if self.uses_shipped_model else Path(model).name


def existing_file(path: str, sha256: str | None = None) -> Path:
    """Return the path of a model file.

    Parameters
    ----------
    path
        The file, or in a job the link to where the model was placed on the computer.
    sha256
        The expected sha256 of its content, for the message.

    Raises
    ------
    CalculatorRefusedError
        If there is none.
    """
    file = Path(path).expanduser()
    if file.is_symlink() and not file.exists():
        raise CalculatorRefusedError(
            Code.MODEL_MISSING,
            f'the model of sha256 {sha256} is no longer at {os.readlink(file)}; submit again to place it there, or do '
            "so with 'mlip-autopipe calculator place'",
        )
    if not file.is_file():
        raise CalculatorRefusedError(Code.MODEL_NOT_LOADED, f'the model file {file} does not exist')
    return file


def resolve_device(device: str) -> str:
    """Return the device to use; imports torch.

    Raises
    ------
    CalculatorRefusedError
        If CUDA is asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == 'cuda' and not available:
        raise CalculatorRefusedError(
            Code.ENVIRONMENT_CHANGED, 'the device is cuda, but torch finds no CUDA device here'
        )
    return 'cuda' if available and device != 'cpu' else 'cpu'


@contextmanager
def random_streams_kept() -> Iterator[None]:
    """Put the global generators of Python and NumPy back: some packages reseed them when they load."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (the one that others disturb)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
