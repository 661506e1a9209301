"""What `deploy/` holds is true of the service: the names, limits and pages that it speaks of are there."""
