"""What a run leaves behind: CSVs that grow while it runs; then summary, manifest and HTML."""
