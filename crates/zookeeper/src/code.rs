//! What a server answers when it does not do what was asked.

/// An error code of ZooKeeper (`KeeperException.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i32);

macro_rules! codes {
    ($($name:ident $number:literal $says:literal,)*) => {
        impl Code {
            $(#[doc = concat!("The server says: ", $says, ".")] pub const $name: Self = Self($number);)*

            fn says(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($says),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    SYSTEM_ERROR -1 "system error",
    RUNTIME_INCONSISTENCY -2 "an operation before it was refused",
    DATA_INCONSISTENCY -3 "data inconsistency",
    CONNECTION_LOSS -4 "connection lost",
    MARSHALLING_ERROR -5 "the request could not be read",
    UNIMPLEMENTED -6 "not implemented; ZooKeeper 3.6 or later is needed",
    OPERATION_TIMEOUT -7 "the operation took too long",
    BAD_ARGUMENTS -8 "bad arguments",
    NEW_CONFIG_NO_QUORUM -13 "no quorum",
    RECONFIG_IN_PROGRESS -14 "reconfiguration in progress",
    NO_NODE -101 "no such node",
    NO_AUTH -102 "not authorised",
    BAD_VERSION -103 "another version",
    NO_CHILDREN_FOR_EPHEMERALS -108 "an ephemeral node has no children",
    NODE_EXISTS -110 "the node exists",
    NOT_EMPTY -111 "the node has children",
    SESSION_EXPIRED -112 "the session has expired",
    INVALID_CALLBACK -113 "invalid callback",
    INVALID_ACL -114 "the ACL is invalid; is the digest set?",
    AUTH_FAILED -115 "authentication failed",
    SESSION_MOVED -118 "the session has moved to another server",
    NOT_READONLY -119 "the server is read-only",
    EPHEMERAL_ON_LOCAL_SESSION -120 "a local session has no ephemeral nodes",
    NO_WATCHER -121 "no such watch",
    REQUEST_TIMEOUT -122 "the request took too long",
    RECONFIG_DISABLED -123 "reconfiguration is disabled",
    SESSION_CLOSED_REQUIRE_SASL -124 "the server takes SASL sessions only",
    QUOTA_EXCEEDED -125 "the quota is exceeded",
    THROTTLED_OP -127 "the server is overloaded and dropped it",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.says() {
            Some(says) => write!(f, "{says} ({})", self.0),
            None => write!(f, "error {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes_say_what_they_mean_and_others_their_number() {
        assert_eq!(Code::NO_NODE.to_string(), "no such node (-101)");
        assert_eq!(Code(-9999).to_string(), "error -9999");
    }
}
