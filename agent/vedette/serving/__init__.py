"""Model servers on this host: found, recognised, read in one vocabulary."""
