"""Pages of metrics in the formats of Prometheus and OpenMetrics: fetched, read, followed."""
