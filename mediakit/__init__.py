"""mediakit: the command line for local AI media models."""

__version__ = "0.1.0"
