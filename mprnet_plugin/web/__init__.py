"""The page: drop a photograph, see it restored. Gradio is imported by nothing but ``page`` and ``parts``."""
