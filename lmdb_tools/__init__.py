"""Command-line tools that pack restoration datasets into LMDBs, and check and show them. Nothing here needs torch."""
