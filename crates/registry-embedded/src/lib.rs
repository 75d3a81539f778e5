//! A registry for one host: several processes over one directory, no server.
