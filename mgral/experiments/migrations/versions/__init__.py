"""One module a step, each with `upgrade` and `downgrade`."""
