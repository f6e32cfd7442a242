"""`python -m valuedrift` runs the command line."""

import sys

from valuedrift.cli import main

if __name__ == "__main__":
    sys.exit(main())
