"""What every test starts from."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background has them ignore Control-C, and every process they start would: tests of
# interruptions could then only hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
