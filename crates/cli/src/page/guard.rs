//! Which requests are answered at all, and what every answer tells the browser.
//!
//! A page of any site can make a browser send requests to this host, under a name of its own that it
//! lets point here: so a request must be addressed to a loopback name.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What browsers are told with every answer: nothing from elsewhere, no script, no frame.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match is_addressed_here(&request) {
        true => next.run(request).await,
        false => {
            let text = "This address serves loopback names only: open http://127.0.0.1 or \
                        http://localhost with its port.\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_addressed_here(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let uri = request.uri().authority().map(axum::http::uri::Authority::as_str);
    host.is_some_and(is_loopback) && uri.is_none_or(is_loopback)
}

/// `localhost`, `127.0.0.1` or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        host.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && match host[name.len()..].strip_prefix(':') {
                Some(port) => is_port(port),
                None => host.len() == name.len(),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["localhost", "LOCALHOST:8087", "127.0.0.1:8087", "[::1]", "[::1]:1"] {
            assert!(is_loopback(host), "{host}");
        }
        let others = ["", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "127.0.0.1:x"];
        for host in others.into_iter().chain(["127.0.0.2", "localhost:80@evil.test", "::1"]) {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
