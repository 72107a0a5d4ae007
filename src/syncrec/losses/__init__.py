"""Next-item losses, transfer gap and loss correction, mutual information."""
