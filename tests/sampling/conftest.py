from support.frames import *  # noqa: F403
