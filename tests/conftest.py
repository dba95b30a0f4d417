"""How the properties are tried: the same cases in every run, or with HYPOTHESIS_PROFILE=long new ones, and more."""

import os

from hypothesis import HealthCheck, settings

CALM = [HealthCheck.too_slow]  # a slow machine is no failure of the law
settings.register_profile("steady", derandomize=True, deadline=None, database=None, suppress_health_check=CALM)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
