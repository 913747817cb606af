"""The vocabulary that every component shares: kinds, typed objects, labels, quantities, field paths, errors.

Something belongs here if it is pure (no I/O, no clock, no randomness) and two components need it.
"""
