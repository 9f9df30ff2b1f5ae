"""Where it runs: the node, the cluster objects, the engine that keeps them."""
