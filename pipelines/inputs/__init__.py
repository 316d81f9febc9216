"""What the input files are, looked at before work starts."""
