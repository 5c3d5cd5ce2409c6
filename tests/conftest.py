"""Set-up that all tests share."""

import signal
import threading

# Jobs in the background of a shell are started with SIGINT ignored, and hand that on to the processes they start: tests
# of Ctrl-C would wait for ever.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
