"""Vedette: a light host daemon that learns what is normal and reports what matters."""
