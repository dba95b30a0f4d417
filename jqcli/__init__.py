"""jqcli: a batch job runner for JSON Lines.

These are the names that the author of a handler imports; importing them loads nothing heavy.
"""

from jqcli.errors import RateLimited, Reject, Retry, Skip, Snooze
from jqcli.policy import handler

__all__ = ["RateLimited", "Reject", "Retry", "Skip", "Snooze", "__version__", "handler"]

__version__ = "0.1.0"
