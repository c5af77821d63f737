"""What a test needs and may not find: packages, real speech, a bundled model.

Missing, the test is skipped, with the reason shown. With the variable CI set it fails, so that nothing goes
untested there unnoticed; but with STAPES_BARE as well, which says that the environment has numpy and
onnxruntime alone on purpose, what other packages are needed for is skipped even there.
"""

import importlib
import os
from typing import Any, NoReturn

import pytest


def missing(reason: str, *, bare: bool = False) -> NoReturn:
    """Skips the test, or fails it in CI.

    Args:
        reason: what is missing, and what for.
        bare: it is rightly missing where STAPES_BARE is set.
    """
    if os.environ.get("CI") and not (bare and os.environ.get("STAPES_BARE")):
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def package(name: str, why: str) -> Any:
    """The module `name`, of a package that the runtime does without."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(f"needs {name}: {why}", bare=True)
