"""Property tests run as often on a busy machine: no deadline, and no database of examples beside the sources."""

from hypothesis import settings

settings.register_profile("patching", deadline=None, database=None)
settings.load_profile("patching")
