"""Mail servers for development, which deliver nothing: one saves each mail as a file, one only records arrivals."""
