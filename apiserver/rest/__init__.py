"""The REST door: Kubernetes' HTTP API on aiohttp, before the registry that both doors share."""
