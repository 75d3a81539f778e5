//! Runs one shard: job traits, script runner, time-out and panic as outcomes.
