"""Receive OTLP/HTTP from many hosts, keep it in SQLite, and serve the fleet page."""
