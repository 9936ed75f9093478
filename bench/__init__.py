"""The load generator and the load-test comparison."""
