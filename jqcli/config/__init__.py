"""Frozen settings, validated once, from options, environment and file.

`given` is one value and where it came from; `file` reads the file; `handler` and `path` settle names and
files; `settings` joins them.
"""

from jqcli.config.cpu import usable_cpus
from jqcli.config.file import OPTION_NAMES, ConfigFile, load_config
from jqcli.config.handler import HandlerSpec, installed_handlers
from jqcli.config.settings import Settings, build_settings
from jqcli.policy import DEFAULTS, Policy

__all__ = [
    "DEFAULTS",
    "OPTION_NAMES",
    "ConfigFile",
    "HandlerSpec",
    "Policy",
    "Settings",
    "build_settings",
    "installed_handlers",
    "load_config",
    "usable_cpus",
]
