"""Show versions, what is broken and the command that mends it; same as `python -m sta.doctor`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # sta itself may not be installed

from sta.doctor import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
