//! From bytes to text.

use flockwork_core::config::{Code, Problem};

/// The text of `bytes`, without a byte order mark.
///
/// # Errors
/// `CONFIG_LIMIT` above [`super::MAX_BYTES`], `CONFIG_READ` if it is not UTF-8, with the first byte
/// that is not.
pub fn text_of(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > super::MAX_BYTES {
        let problem = Problem::error(Code::ConfigLimit, "", "the document is too long");
        return Err(problem.with_limit(format!("{} bytes", super::MAX_BYTES)));
    }
    let text = std::str::from_utf8(bytes).map_err(|why| {
        let at = why.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        let problem = Problem::error(Code::ConfigRead, "", format!("not UTF-8 at byte {at}"));
        problem.with_value(&format!("0x{byte:02x}")).with_hint("save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
