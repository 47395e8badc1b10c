"""The job that was run is found behind any number of copies from the cache."""

from aiida import orm

from aiida_mlip_autopipe.data.original_job import original_job


def copy_of(uuid):
    job = orm.CalcJobNode()
    job.base.extras.set(job.base.caching.CACHED_FROM_KEY, uuid)
    return job.store()


def test_a_job_that_was_run_is_its_own_original():
    job = orm.CalcJobNode().store()
    assert original_job(job) == (job, job.uuid)


def test_a_copy_of_a_copy_leads_to_the_job_that_was_run():
    job = orm.CalcJobNode().store()
    assert original_job(copy_of(copy_of(job.uuid).uuid)) == (job, job.uuid)


def test_without_the_original_in_the_profile_its_uuid_is_known():
    missing = '00000000-0000-4000-8000-000000000000'
    copy = copy_of(missing)
    assert original_job(copy) == (copy, missing)
