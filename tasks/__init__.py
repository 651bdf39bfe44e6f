"""Thin Prefect tasks: open, call the library, record, return a small receipt."""
