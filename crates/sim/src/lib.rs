//! Many nodes, one memory registry, one seed.
