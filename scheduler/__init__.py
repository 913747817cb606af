"""Which node a pod goes to: pure decisions on a snapshot, a queue around them, and bindings."""
