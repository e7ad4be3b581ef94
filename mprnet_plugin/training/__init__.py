"""Training, whichever host runs it: the optimisation step, schedules, validation and tables, and their options."""
