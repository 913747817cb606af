"""From a container of a pod spec to the engine's specification of it."""
