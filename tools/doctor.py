"""Show versions, what is broken and the command that mends it; same as `python -m sta.doctor`."""

import sys

from sta.doctor import main

if __name__ == '__main__':
    sys.exit(main())
