"""The only place that knows BasicSR's internals: mends, options and registration."""
