//! Does: the loop that feeds the node's state machine and carries out its effects.
