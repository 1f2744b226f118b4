"""nova: supervises workers that earn money."""

__version__ = "0.1.0"
