"""Let ASE's databases check each key and each text of the key-value pairs once, instead of once for each row.

ASE parses each key as a formula and each text as a number. This takes half the time of writing a dataset, although most
rows have the same keys and texts. In ASE's ``_write``, only the first loop over the pairs performs the check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class _Pairs(dict[str, Any]):
    """Key-value pairs. The first loop over them yields only the new ones, and later loops yield all of them."""

    def __init__(self, pairs: Mapping[str, Any], new: Mapping[str, Any]):
        super().__init__(pairs)
        self._new: Mapping[str, Any] | None = new

    def items(self) -> Any:
        new, self._new = self._new, None
        return super().items() if new is None else new.items()


class CheckOnce:
    """Mixin for one of ASE's databases, which then checks each key once for each text or type of its value."""

    def _write(self, atoms: Any, key_value_pairs: dict[str, Any], data: Any, id: int | None = None) -> Any:
        checked: set[tuple[str, Any]] = self.__dict__.setdefault('_checked', set())
        identities = {
            key: (key, value if isinstance(value, str) else type(value)) for key, value in key_value_pairs.items()
        }
        new = {key: key_value_pairs[key] for key, identity in identities.items() if identity not in checked}
        written = super()._write(atoms, _Pairs(key_value_pairs, new), data, id)  # type: ignore[misc]
        checked.update(identities.values())
        return written
