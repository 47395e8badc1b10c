"""The variants of a stage by ``kind``: those of this package, and those that other packages add as entry points."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Annotated, Any, Generic, Protocol, TypeVar, Union

from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.settings import Settings


class Variant(Protocol):
    """A class with a settings model."""

    @property
    def settings_class(self) -> type[Settings]:
        """The settings model."""
        ...


V = TypeVar('V', bound=Variant)


def variants_in(package: str) -> dict[str, str]:
    """Return the built-in variants of a package by kind, without importing them.

    Each module contains one variant: its name is the kind, and its constant ``VARIANT`` is the class.

    Parameters
    ----------
    package
        The name of the package, such as ``aiida_mlip_autopipe.generation.kinds``.
    """
    modules = iter_modules(import_module(package).__path__)
    return {kind: f'{package}.{kind}:VARIANT' for kind in sorted(module.name for module in modules)}


class Registry(Generic[V]):
    """The variants of one stage.

    Parameters
    ----------
    group
        The entry point group for other packages, such as ``aiida_mlip_autopipe.generators``.
    builtin
        The variants of this package, from `variants_in`: kind to ``'module:Class'``. They are imported on demand.
    """

    def __init__(self, group: str, builtin: Mapping[str, str]):
        self.group = group
        self._builtin = {kind: EntryPoint(kind, value, group) for kind, value in builtin.items()}

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        added = {point.name: point for point in entry_points(group=self.group)}
        for kind in added.keys() & self._builtin.keys():
            raise AutopipeError(
                Code.PLUGIN_BROKEN,
                f'the entry point {kind!r} of the group {self.group!r} has the name of a built-in kind; '
                'its package must choose another name',
            )
        return self._builtin | added

    def __iter__(self) -> Iterator[str]:
        return iter(self._entry_points)

    def load(self, kind: str) -> type[V]:
        """Import and return the class of a kind.

        Raises
        ------
        AutopipeError
            If no such kind exists, or its package is broken.
        """
        if kind not in self._entry_points:
            noun = self.group.rpartition('.')[2].removesuffix('s')
            raise AutopipeError(Code.KIND_UNKNOWN, f'no {noun} {kind!r} exists; use one of {", ".join(self)}')
        module, _, name = self._entry_points[kind].value.partition(':')
        try:
            variant: type[V] = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise AutopipeError(
                Code.PLUGIN_BROKEN,
                f'the entry point {kind!r} of the group {self.group!r} cannot be loaded from {module}: {error}',
            ) from error
        return variant

    def make(self, settings: Settings) -> V:
        """Return an instance for validated settings."""
        return self.load(settings.kind)(settings)  # type: ignore[attr-defined,call-arg]

    def settings_union(self, *, without: Collection[str] = ()) -> Any:
        """Return the union of all settings models, discriminated by ``kind``, as the annotation of a config field.

        Parameters
        ----------
        without
            Kinds to omit, because a kind that contains other kinds must not contain itself.
        """
        models = tuple(self.load(kind).settings_class for kind in self if kind not in without)
        return Annotated[Union[models], Field(discriminator='kind')]  # noqa: UP007 (the members are not known here)
