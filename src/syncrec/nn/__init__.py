"""Building blocks of networks: embeddings, attention over packed sequences, experts, gates, towers. Knows torch only."""
