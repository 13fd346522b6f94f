"""Entry point of `python -m sta.doctor`."""

import sys

from . import main

if __name__ == '__main__':
    sys.exit(main())
