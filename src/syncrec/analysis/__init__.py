"""What a trained model does with histories: worth of a domain's events, use of experts, reasons of an answer."""
