from support.job_folders import *  # noqa: F403
