"""Functions mapped over tasks by several processes: of this machine, or of a cluster."""
