"""The pod network of one node: point-to-point veth pairs and host routes, without a bridge; and the way to others."""
