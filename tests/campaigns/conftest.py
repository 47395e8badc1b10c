from support.campaigns import *  # noqa: F403
