//! Rejects requests whose head is too large, with a problem that states the limit.
//!
//! hyper has limits too, but they are larger and its responses have no body.

use domain::ErrorCode;

use super::problem::Problem;

/// Maximum number of headers of a request.
pub const HEADERS: usize = 100;

/// Rejects a request whose head exceeds a limit.
///
/// The limits are those of the whole head and of the path with its query string, in bytes.
pub fn check<B>(
    request: &http::Request<B>,
    max_head_size: usize,
    max_target_size: usize,
) -> Result<(), Problem> {
    let Some(problem) = too_long(request, max_head_size, max_target_size) else { return Ok(()) };
    metrics::counter!("orders_http_rejections_total", "reason" => problem.code().as_str()).increment(1);
    Err(problem)
}

fn too_long<B>(request: &http::Request<B>, max_head_size: usize, max_target_size: usize) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > max_target_size {
        let detail = format!("the path with its query string may have at most {max_target_size} bytes");
        return Some(Problem::new(ErrorCode::UriTooLong, detail));
    }
    // Each header also has a colon, a space and a line break.
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.saturating_add(target) > max_head_size {
        let detail = format!("the head of the request may have at most {max_head_size} bytes");
        return Some(Problem::new(ErrorCode::HeadTooLarge, detail));
    }
    (request.headers().len() > HEADERS).then(|| {
        Problem::new(ErrorCode::HeadTooLarge, format!("a request may have at most {HEADERS} headers"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn each_limit_holds_at_n_and_breaks_at_n_plus_1() {
        let code = |request: &Request<()>| too_long(request, 3_000, 100).map(|problem| problem.code());
        let target = |length: usize| Request::get(format!("/{}", "x".repeat(length - 1))).body(()).unwrap();
        assert_eq!((code(&target(100)), code(&target(101))), (None, Some(ErrorCode::UriTooLong)));
        let long = |length: usize| {
            let mut request = target(1);
            let value = HeaderValue::from_str(&"x".repeat(length - 1 - 5)).unwrap();
            request.headers_mut().insert("a", value);
            request
        };
        assert_eq!((code(&long(3_000)), code(&long(3_001))), (None, Some(ErrorCode::HeadTooLarge)));
        let many = |count| {
            let mut request = target(1);
            for _ in 0..count {
                request.headers_mut().append("a", HeaderValue::from_static("x"));
            }
            request
        };
        assert_eq!((code(&many(HEADERS)), code(&many(HEADERS + 1))), (None, Some(ErrorCode::HeadTooLarge)));
    }

    #[test]
    fn the_limits_are_documented() {
        let head = limits_page::bytes(crate::Config::default().max_head_size);
        limits_page::row("head; headers", &format!("{head}; {HEADERS}"));
        limits_page::row("request head that is not HTTP", "");
    }
}
