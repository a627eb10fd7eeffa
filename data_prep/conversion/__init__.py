"""From a list of cases to shards and manifest: the plan, its runners, and how a killed one goes on."""
