//! A decentralised, sharded job scheduler.
