"""Patient Visits ELT: the command line. `python run_pipeline.py --help` tells all of it."""

import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load: an end without a traceback

if __name__ == "__main__":
    if sys.argv[1:2] == ["verify"] and "--standalone" in sys.argv:  # before any package is looked for
        from lib.standalone import main as verify_standalone

        sys.exit(verify_standalone([each for each in sys.argv[2:] if each != "--standalone"]))

    from lib.template import begin_template

    begin_template(sys.argv[1:])

    from lib.cli import main

    try:
        main()
    except SystemExit as ended:
        # What was said is written; to take apart all that was imported takes a tenth of a second.
        os._exit(int(ended.code or 0))
