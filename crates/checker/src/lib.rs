//! Judges runs: one file for each invariant, from traces alone.
