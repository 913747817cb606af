"""Files of variables, which containers leave in a volume for others of their pod.
https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/

A line is NAME='value', and nothing in the quotes means anything but itself, a new line neither.  Before the name there
may be blanks, after the value a comment.  `NAME= 'value'` is an empty value, as a shell reads it.
"""

import re

from kubelet.containers.fields import ConfigError

_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_EMPTY = re.compile(r"[ \t]*([^ \t\n=][^\n=]*?)=[ \t][^\n]*(?:\n|\Z)")
_VARIABLE = re.compile(r"[ \t]*([^ \t\n=][^\n=]*?)='([^']*)'[ \t]*(?:#[^\n]*)?(?:\n|\Z)")


def value(text: str, key: str) -> str:
    """The first that `key` has; "" if it has none.  Raises ConfigError for a fault in what stands before it."""
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        found = _EMPTY.match(text, at) or _VARIABLE.match(text, at)
        if found is None or found[1].endswith((" ", "\t")):
            raise ConfigError("couldn't parse env file")
        if found[1] == key:
            return found[2] if found.re is _VARIABLE else ""
        at = found.end()
    return ""
