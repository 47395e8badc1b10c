from support.rows import *  # noqa: F403
