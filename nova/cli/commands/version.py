"""nova version."""

from __future__ import annotations

from nova.cli.output import emit, line
from nova.cli.params import AsJson


def version(json: AsJson = False) -> None:
    """Print the version.

    Example:
      nova version
    """
    from nova import __version__

    if json:
        emit({"version": __version__})
    else:
        line(f"nova {__version__}")
