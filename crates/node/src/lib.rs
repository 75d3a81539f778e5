//! One node as a state machine: events in, effects out; no clock, no I/O, no async.
