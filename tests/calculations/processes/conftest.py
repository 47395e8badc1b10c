from support.process_labels import *  # noqa: F403
