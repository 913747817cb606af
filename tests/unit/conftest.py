"""Property tests look at as many examples on a busy machine, and keep none of them beside the sources."""

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
