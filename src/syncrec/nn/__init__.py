"""Building blocks: embeddings, attention over packed sequences, experts, gates, towers. Knows only torch."""
