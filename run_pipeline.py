"""Patient Visits ELT: the command line. `python run_pipeline.py --help` tells all of it."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load: an end without a traceback

from lib.cli import main

if __name__ == "__main__":
    main()
