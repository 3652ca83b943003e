"""Imports that only an extra provides, with an error that names the extra."""

import importlib
from types import ModuleType


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or say in one sentence which extra brings it.

    Args:
        module: dotted name, for example ``"plotly.graph_objects"``.
        extra: the extra of this package that installs it.
        purpose: what needs it, as the subject of the error sentence.

    Raises:
        ImportError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package '{module.split('.')[0]}', which is not installed: pip install 'cffbook[{extra}]'"
        ) from error
