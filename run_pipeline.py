"""Patient Visits ELT: the command line. `python run_pipeline.py --help` tells all of it."""

from lib.cli import main

if __name__ == "__main__":
    main()
