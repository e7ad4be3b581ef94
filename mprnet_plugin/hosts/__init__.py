"""The programs that train with our parts, one package each; nothing outside of a package imports its host."""
