"""Several processes that share a job."""
