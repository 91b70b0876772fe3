"""How due work reaches a worker: one file for each broker that `NS_BROKER` can name."""
