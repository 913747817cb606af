"""From services and endpoint slices to the node's kernel: pure rules, one nftables table, two routes."""
