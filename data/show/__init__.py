"""A look at what a config trains on: `python -m data.show --config=FILE`."""
