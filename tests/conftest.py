"""What all tests share: Hypothesis never fails a test for being slow, as a busy machine may be."""

from hypothesis import HealthCheck, settings

settings.register_profile("zosnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zosnet")
