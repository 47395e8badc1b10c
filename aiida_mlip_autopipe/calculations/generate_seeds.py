"""A calcfunction that generates seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.generation import Fingerprints, read_entries
from aiida_mlip_autopipe.generation import generate_seeds as generate

ERROR_PHYSICS = 400


@calcfunction
def generate_seeds(
    settings: orm.Dict,
    random_seed: orm.Int,
    start: orm.Int,
    stop: orm.Int,
    stage_version: orm.Str,
    fingerprints: orm.Dict | None = None,
    **files: orm.SinglefileData,
) -> Mapping[str, orm.Data] | ExitCode:
    """Generate the seeds ``start`` to ``stop`` of a campaign.

    Parameters
    ----------
    settings
        ``entries``: the config's ``generation`` list, in which each path is replaced by its key in ``files``;
        ``cutoff_A``: the calculator's cutoff.
    random_seed
        The campaign's random seed.
    start, stop
        The range of seeds to generate; ``stop`` is excluded.
    stage_version
        Version of this function; increased when its results change, so that the cache does not return earlier ones.
    fingerprints
        The fingerprints that the seeds are compared with: the output of the previous chunk, if there is one.
    **files
        The user's structure files, by key.

    Returns
    -------
    dict
        ``seed_<seed_id>``: a `SeedData` for each seed; ``places``: the position of each seed in its entry and the index
        of the entry, by seed id; ``report``: the rejections, and the order of the seeds as ``seed_ids``;
        ``fingerprints``: those that the seeds of the next chunk are compared with, if they are compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {key: _unpack(node, Path(folder) / key) for key, node in files.items()}
        entries = read_entries(settings['entries'], lambda key: paths[key])
        try:
            result = generate(
                entries,
                random_seed=random_seed.value,
                cutoff_A=settings['cutoff_A'],
                start=start.value,
                stop=stop.value,
                fingerprints=None if fingerprints is None else Fingerprints.from_dict(fingerprints.get_dict()),
            )
        except AutopipeError as error:
            return ExitCode(ERROR_PHYSICS, str(error), invalidates_cache=True)
    nodes: dict[str, orm.Data] = {f'seed_{seed.seed_id}': SeedData.from_seed(seed) for seed in result.seeds}
    places: dict[str, list[int]] = {}
    for seed in result.seeds:  # of several seeds with the same content, the place of the first is kept
        places.setdefault(seed.seed_id, [*seed.place, seed.entry])
    nodes['places'] = orm.Dict(places)
    nodes['report'] = orm.Dict({**result.report, 'seed_ids': list(places)})
    if result.fingerprints is not None:
        nodes['fingerprints'] = orm.Dict(result.fingerprints.as_dict())
    return nodes


def _unpack(node: orm.SinglefileData, folder: Path) -> Path:
    """Write a file into a separate folder under its original name, from which ASE infers the format."""
    folder.mkdir()
    path = folder / node.filename
    path.write_bytes(node.get_content(mode='rb'))
    return path
