"""Training whichever host runs it: the optimisation step, schedules, validation, tables; typed options for all of it."""
