"""One isolated Claude Code per model provider."""

__version__ = "0.1.0"
