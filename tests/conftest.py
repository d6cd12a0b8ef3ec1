"""What all tests share: Hypothesis never fails a test for being slow, as a busy machine may be.

And programs that tests start can be interrupted, also when the tests themselves run in the background, where
a shell makes its children ignore that signal.
"""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("zosnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zosnet")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
