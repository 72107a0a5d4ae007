"""Raw logs in, prepared datasets and packed batches out."""
