from support.aiida_fixtures import *  # noqa: F403
