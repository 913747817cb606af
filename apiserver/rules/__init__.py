"""What every kind must look like: decoding, defaults, validation, and what each verb may set.

Pure functions from objects to objects and faults: no I/O, no clock, no caches of objects.  The order on a write is
`decode`, `default`, mutating admission, `prepare_create` or `prepare_update`, then `validate` or `validate_update`;
`api.paths.refusal` turns their faults into the one 422 that names them all.

    decoding      bytes → Struct, in Go's words where they cannot be
    defaulting    what upstream's SetDefaults_* functions fill in
    strategies    which parts of an object a verb may set; metadata.generation
    validation    upstream's rules, with its field paths, messages and order
"""

from apiserver.rules.decoding import decode
from apiserver.rules.defaulting import default
from apiserver.rules.strategies import prepare_create, prepare_update
from apiserver.rules.validation import validate, validate_update

__all__ = ["decode", "default", "prepare_create", "prepare_update", "validate", "validate_update"]
