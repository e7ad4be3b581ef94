"""Demo data: photographs that installed packages ship, degraded as a camera degrades them."""
