"""Sets that were drawn before the selection and stored in the rows."""

from __future__ import annotations

from collections.abc import Sequence

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import SPLITS, Split

# Maximum number of groups in a message.
MAX_NAMED = 5


def has_stored_splits(rows: Sequence[Row]) -> bool:
    """Return whether a validation or a test set is stored in some of the rows, and other rows are used for training."""
    found = {row.key_value_pairs.get('split', 'train') for row in rows}
    return 'train' in found and len(found) > 1


def read_stored_splits(rows: Sequence[Row]) -> list[Split]:
    """Return the stored set of each row.

    A row without one is used for training, as after a campaign has extended a dataset.

    Raises
    ------
    AutopipeError
        If no row contains its set, or a row contains an unknown one.
    """
    if all('split' not in row.key_value_pairs for row in rows):
        raise AutopipeError(
            Code.ROW_KEY_MISSING,
            'the rows have no key split, because no sets were drawn before the selection; split by parent instead',
        )
    splits = [row.key_value_pairs.get('split', 'train') for row in rows]
    for index, found in enumerate(splits):
        if found not in SPLITS:
            raise AutopipeError(
                Code.CHOICE_UNKNOWN,
                f'row {index} belongs to the unknown set {found!r}; the sets are {", ".join(SPLITS)}',
            )
    return splits


def check_stored_splits(splits: Sequence[Split], groups: Sequence[str], joined: Sequence[str]) -> None:
    """Check that no group and no structure is in two sets.

    Parameters
    ----------
    splits
        The set of each row.
    groups
        The group of each row.
    joined
        The group of each row after groups that share a structure were joined.

    Raises
    ------
    AutopipeError
        If a group, or two groups that share a structure, are in several sets. The message names them.
    """
    sets: dict[str, dict[str, set[Split]]] = {}
    for split, group, name in zip(splits, groups, joined, strict=True):
        sets.setdefault(name, {}).setdefault(group, set()).add(split)
    found = [parts for _, parts in sorted(sets.items()) if len(set().union(*parts.values())) > 1]
    if not found:
        return
    named = '; '.join(map(_describe, found[:MAX_NAMED]))
    more = f'; and {len(found) - MAX_NAMED} more' if len(found) > MAX_NAMED else ''
    raise AutopipeError(
        Code.SETS_OVERLAP,
        'by: stored: groups in more than one of the stored sets would make the test error too low '
        f'(found: {len(found)} of {len(sets)}): {named}{more}. Draw new sets from all rows (by: parent), or extend a '
        'dataset with a campaign whose reference_dataset contains its sets',
    )


def _describe(parts: dict[str, set[Split]]) -> str:
    texts = [f'{group} ({" and ".join(one for one in SPLITS if one in parts[group])})' for group in sorted(parts)]
    return texts[0] if len(texts) == 1 else f'{", ".join(texts[:MAX_NAMED])} share structures'
