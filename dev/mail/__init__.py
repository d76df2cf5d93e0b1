"""A mail server that delivers nothing: it keeps every mail as a file."""
