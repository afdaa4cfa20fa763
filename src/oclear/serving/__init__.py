"""The HTTP server: photo search, items put and taken away, feedback, and the exposure log that it writes."""
