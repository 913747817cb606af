"""Deciding: what to do for a pod, and what to say about it.  Pure functions of what is wanted, what is and the time."""
