"""How the tests are run.

Properties are tried with the same cases in every run, or with HYPOTHESIS_PROFILE=long with new ones, and more.
"""

import os
import signal

from hypothesis import HealthCheck, settings

CALM = [HealthCheck.too_slow]  # a slow machine is no failure of the law
settings.register_profile("steady", derandomize=True, deadline=None, database=None, suppress_health_check=CALM)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# Under nohup, or behind a shell's `&`, signals would be ignored in all that the tests start.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
