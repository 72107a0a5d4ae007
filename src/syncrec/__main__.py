"""`python -m syncrec` is the command `syncrec`."""

from syncrec.cli import entry_point

entry_point()
