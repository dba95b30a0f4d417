"""Frozen settings, validated once, from options, environment and file.

`option` are the options, a row each; `given` is one value and where it came from; `file` reads the file; `handler`,
`installed` and `path` settle names and files; `settings` joins them; `verify` is what `jq-run verify` needs of them.
"""

from jqcli.config.cpu import usable_cpus
from jqcli.config.file import ConfigFile, load_config
from jqcli.config.handler import HandlerSpec
from jqcli.config.installed import installed_handlers
from jqcli.config.option import OPTION_NAMES, OPTIONS, VERIFY_OPTIONS, Option
from jqcli.config.settings import Settings, build_settings
from jqcli.config.verify import VerifySettings, build_verify_settings
from jqcli.policy import DEFAULTS, Policy

__all__ = [
    "DEFAULTS",
    "OPTIONS",
    "OPTION_NAMES",
    "VERIFY_OPTIONS",
    "ConfigFile",
    "HandlerSpec",
    "Option",
    "Policy",
    "Settings",
    "VerifySettings",
    "build_settings",
    "build_verify_settings",
    "installed_handlers",
    "load_config",
    "usable_cpus",
]
