"""`python -m stapes.cli`, where the `stapes` script is not on the path."""

import sys

from stapes.cli import main

sys.exit(main())
