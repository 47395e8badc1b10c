"""Base classes of calculators: settings, and loaders, which only jobs use to load a calculator."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
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
from aiida_mlip_autopipe.structures.rows.provenance import mlip_label_source

OF_THE_MODEL = {'model', 'model_sha256', 'store_model'}
"""Settings of the model, which is a separate input of a job and is identified by its content."""
NOT_OF_LABELS = OF_THE_MODEL | {'kind', 'device', 'dtype', 'cutoff_A'}
"""Settings that do not change the labels, or that a level of theory contains under another name."""


class CalculatorRefusedError(AutopipeError):
    """A calculator cannot be used. The attribute ``code`` gives the reason."""


class CalculatorSettings(Settings):
    """Settings that all calculators have."""

    kind: str
    """Kind of calculator."""
    cutoff_A: float = Field(gt=0)
    """Cutoff of the calculator in Å. The seeds are made large enough for it, without loading the calculator."""


class ModelSettings(CalculatorSettings):
    """A calculator with a model file."""

    model: InputModel
    """The model file, or the name of a model that the package of the calculator ships."""
    model_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the model file. A job refuses any other file. The default is the sha256 of the submitted file."""
    store_model: bool = True
    """Whether AiiDA stores the content of the model file, so that the file may be deleted after submission. With
    ``false``, AiiDA stores only the sha256, and jobs on this machine read the original file. Shipped models are never
    stored."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device of the model. ``auto`` selects a GPU if one is available."""
    dtype: Literal['float32', 'float64'] = 'float32'
    """Floating-point type of the model."""


@dataclass(frozen=True)
class Loaded:
    """A loaded calculator.

    Attributes
    ----------
    calculator
        The ASE calculator. Its forces must depend only on the structure.
    device, precision
        Its device and floating-point type.
    elements
        Atomic numbers of the supported elements; None if they are unknown.
    cutoff_A
        Its cutoff in Å; None if it is unknown.
    members
        The members of a committee.
    """

    calculator: Any
    device: str = 'cpu'
    precision: str = 'float64'
    elements: frozenset[int] | None = None
    cutoff_A: float | None = None
    members: tuple[Loaded, ...] = ()


def without_models(calculator: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a calculator, as JSON, without its model and those of its members."""
    settings = {name: value for name, value in calculator.items() if name not in OF_THE_MODEL}
    if 'members' in settings:
        settings['members'] = [without_models(member) for member in settings['members']]
    return settings


Describer = Callable[[Atoms], np.ndarray]
"""Returns the learned descriptors of the atoms of a structure (n, d), which are invariant under rotation."""


class CalculatorLoader(ABC):
    """Loads a calculator of one kind.

    Parameters
    ----------
    settings
        The settings of the calculator.
    """

    settings_class: ClassVar[type[CalculatorSettings]]
    package: str
    """Distribution that contains the calculator, for its version."""
    module: str
    """Module of the calculator, by which the loader checks whether it is installed."""
    extra: ClassVar[str | None] = None
    """Extra of this package that installs the calculator."""
    known_elements: frozenset[str] | None = None
    """Symbols of the supported elements if all models support the same ones, otherwise None."""
    has_descriptors: ClassVar[bool] = False
    """Whether the calculator has learned descriptors, which `load_describer` provides."""
    uses_torch: bool = True
    """Whether its results may depend on torch."""
    shipped_models: ClassVar[Mapping[str, str]] = {}
    """Files of the shipped models, relative to the folder of the package, by their names in lower case."""
    members: tuple[CalculatorLoader, ...] = ()
    """The loaders of the members of a committee."""

    def __init__(self, settings: Any):
        self.settings = settings

    @classmethod
    def settings_of_labels(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that change energies, forces or stresses. They are part of the level of theory.

        The model and the precision are left out, and so is ``cutoff_A``, which only determines the sizes of the seeds.

        Parameters
        ----------
        settings
            Settings of the calculator, as JSON.
        """
        return {name: value for name, value in settings.items() if name not in NOT_OF_LABELS}

    @classmethod
    def label_source(cls, settings: Mapping[str, Any], model: str | None) -> str:
        """Return the name of the level of theory, such as ``mlip:mace:mp0.model``; it begins with the method.

        Parameters
        ----------
        settings
            Settings of the calculator, as JSON.
        model
            Name of the model file or of the shipped model, or the class of a custom calculator.
        """
        return mlip_label_source(str(settings['kind']), model)

    @property
    def uses_shipped_model(self) -> bool:
        """Whether the settings name a model that the package ships. Any other model is a file."""
        model = getattr(self.settings, 'model', None)
        if model is None or not self.shipped_models:
            return False
        return model.lower() in self.shipped_models or not ('/' in model or os.path.isfile(model))

    @property
    def labelling(self) -> CalculatorLoader:
        """The loader of the calculator whose results are stored; for a committee, that of its first member."""
        return self

    def resolve_model(self) -> Path | None:
        """Return the path of the model file without importing the calculator; None if it has no model.

        Raises
        ------
        CalculatorRefusedError
            If the file or the shipped model does not exist.
        """
        if not isinstance(self.settings, ModelSettings):
            return None
        if not self.uses_shipped_model:
            return existing_file(self.settings.model, self.settings.model_sha256)
        file = self.shipped_models.get(self.settings.model.lower())
        if file is None:
            raise CalculatorRefusedError(
                Code.MODEL_NOT_LOADED,
                f'{self.settings.model!r} is neither a file nor a shipped model; '
                f'the shipped models are {", ".join(self.shipped_models)}',
            )
        spec = find_spec(self.module)
        if spec is None or spec.origin is None:
            raise CalculatorRefusedError(
                Code.CALCULATOR_MISSING, f'the model is part of the package {self.package!r}, which is not installed'
            )
        return existing_file(str(Path(spec.origin).parent / file))

    def model_file(self) -> Path:
        """Return the path of the model file of a calculator that always has one.

        Raises
        ------
        CalculatorRefusedError
            See `resolve_model`.
        """
        path = self.resolve_model()
        assert path is not None
        return path

    @abstractmethod
    def load(self) -> Loaded:
        """Import the calculator and load its model."""

    def load_describer(self) -> tuple[Loaded, Describer]:
        """Import and load the calculator. Return it and a function that computes its learned descriptors.

        Raises
        ------
        CalculatorRefusedError
            If the calculator has no learned descriptors.
        """
        raise CalculatorRefusedError(
            Code.SETTINGS_REFUSED, f'the calculator {self.settings.kind!r} has no learned descriptors'
        )

    def check(self) -> str | None:
        """Check the package, the model file and its sha256, without importing the calculator.

        Returns
        -------
        str or None
            The sha256 of the model file.

        Raises
        ------
        CalculatorRefusedError
            If the package or the file is missing, or the file does not have the expected sha256.
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
                f'the model file {path} has the sha256 {found[:12]}…, but the settings require '
                f'{self.settings.model_sha256[:12]}…',
            )
        return found

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements that no model of this kind supports, if this is known without loading a model.

        Raises
        ------
        CalculatorRefusedError
            If an element is not supported.
        """
        if self.known_elements is not None:
            self.refuse_elements(set(symbols) - self.known_elements)

    def refuse_elements(self, unknown: Collection[str]) -> None:
        """Refuse elements that the calculator does not support."""
        if unknown:
            raise CalculatorRefusedError(
                Code.ELEMENT_UNSUPPORTED,
                f'the calculator {self.settings.kind!r} does not support {", ".join(sorted(unknown))}',
            )

    def version(self) -> str | None:
        """Return the version of the calculator's package, without importing it."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def sources(self) -> tuple[str, ...]:
        """Return the names of user modules and files on which the results depend."""
        return ()

    def model_name(self) -> str | None:
        """Return the name of the model file or shipped model."""
        model = getattr(self.settings, 'model', None)
        if not model:
            return None
        return str(model).lower() if self.uses_shipped_model else Path(model).name


def existing_file(path: str, sha256: str | None = None) -> Path:
    """Return the path of a model file.

    Parameters
    ----------
    path
        The file; in a job, the link to the file on the computer.
    sha256
        The expected sha256 of its content, for the message.

    Raises
    ------
    CalculatorRefusedError
        If the file does not exist.
    """
    file = Path(path).expanduser()
    if file.is_symlink() and not file.exists():
        raise CalculatorRefusedError(
            Code.MODEL_MISSING,
            f'the model with the sha256 {sha256} is no longer at {os.readlink(file)}; '
            "submit again to place it there, or use 'mlip-autopipe calculator place'",
        )
    if not file.is_file():
        raise CalculatorRefusedError(Code.MODEL_NOT_LOADED, f'the model file {file} does not exist')
    return file


def resolve_device(device: str) -> str:
    """Return the device to use. This imports torch.

    Raises
    ------
    CalculatorRefusedError
        If CUDA is requested but not available.
    """
    import torch

    available = torch.cuda.is_available()
    if device == 'cuda' and not available:
        raise CalculatorRefusedError(
            Code.ENVIRONMENT_CHANGED, 'the settings require the device cuda, but torch finds no CUDA device'
        )
    return 'cuda' if available and device != 'cpu' else 'cpu'
