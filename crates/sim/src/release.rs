//! Two releases in one cluster: nodes of the newer one write fields that the others do not know.

use crate::queue::HostAt;
use crate::world::World;
use bytes::Bytes;
use flockwork_layout::keys::Facet;
use flockwork_registry::{Op, Request};

/// The field, as the beginning of a stored form.
const FIELD: &str = "{\"of_a_newer_release\":7,";
/// Its name.
pub(crate) const NAME: &str = "of_a_newer_release";

impl World {
    /// A request as the release of a host writes it.
    pub(crate) fn as_its_release_writes(&self, at: HostAt, mut request: Request) -> Request {
        if !self.hosts[at].is_newer {
            return request;
        }
        let Request::Commit(ops) = &mut request else { return request };
        for op in ops {
            let facet = self.namespace.parse(op.key()).map(|(_, facet)| facet);
            if !matches!(facet, Some(Facet::Record(_) | Facet::Plan)) {
                continue;
            }
            if let Op::Set(_, value, _) | Op::Create { value, .. } = op {
                *value = newer(value);
            }
        }
        request
    }
}

/// A stored form with the newer release's field.
fn newer(value: &Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(value) else { return value.clone() };
    match text.strip_prefix('{') {
        Some(rest) if !text.contains(NAME) => format!("{FIELD}{rest}").into(),
        _ => value.clone(),
    }
}

/// A definition in a version that no node reads; none if it does not say its version.
pub(crate) fn of_a_newer_schema(document: &str) -> Option<String> {
    let newer = document.replace("flockwork.schema: \"1\"", "flockwork.schema: \"2\"");
    (newer != document).then_some(newer)
}

/// A definition as if it were of the version that every node reads.
pub(crate) fn of_this_schema(value: &Bytes) -> Bytes {
    match std::str::from_utf8(value) {
        Ok(text) => text.replace("flockwork.schema: \"2\"", "flockwork.schema: \"1\"").into(),
        Err(_) => value.clone(),
    }
}

/// A stored form without the newer release's field.
pub(crate) fn older(value: &Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(value) else { return value.clone() };
    text.replace(",\"of_a_newer_release\":7", "").replace("\"of_a_newer_release\":7,", "").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flockwork_layout::record;

    #[test]
    fn an_older_release_reads_what_a_newer_one_wrote_and_keeps_its_field() {
        let written = newer(&record::encode(&record::Stored::default()));
        let read = record::decode(&written).unwrap();
        assert_eq!(read.unknown[NAME], 7);
        assert_eq!(newer(&written), written);
        assert!(String::from_utf8_lossy(&record::encode(&read)).contains(NAME));
    }
}
