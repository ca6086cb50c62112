"""What ships with Vedette: one module, one plugin."""
