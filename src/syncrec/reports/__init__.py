"""Tables and reports made from result files."""
