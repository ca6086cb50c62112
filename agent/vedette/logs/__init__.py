"""Logs, read losslessly and understood on the host: from bytes in a file to counted templates."""
