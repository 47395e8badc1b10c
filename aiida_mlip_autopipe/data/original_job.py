"""The job that was run, for one whose results come from the cache."""

from __future__ import annotations

from aiida import orm


def original_job(job: orm.CalcJobNode) -> tuple[orm.CalcJobNode, str]:
    """Return the job that was run, and its UUID.

    AiiDA may take the results of a job from one whose results come from the cache, too.

    Parameters
    ----------
    job
        A job that may come from the cache.

    Returns
    -------
    tuple
        The earliest job in this profile, and the UUID of the job that was run. They differ if the profile lacks it.
    """
    while (uuid := job.base.caching.get_cache_source()) is not None:
        source = orm.QueryBuilder().append(orm.ProcessNode, filters={'uuid': uuid}).first(flat=True)
        if source is None:
            return job, uuid
        job = source
    return job, job.uuid
