"""The node as a running thing: drivers around the pure rooms, one task group, reload and a clean stop."""
