"""The images of this node: what they are called, who may use them, fetching them, and removing what nobody uses."""
