"""The host's model classes for our networks."""
