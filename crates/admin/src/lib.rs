//! Asks and tells: the queries and commands that command line and pages share.
