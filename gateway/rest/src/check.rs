//! Checks an order as a create does, without a gateway.

use domain::{Content, Currency};
use gateway_http::problem::Problem;
use gateway_service::Error;

use super::api_error::ApiError;
use super::draft;

/// Checks the body of a create. Only what a gateway knows is not checked: permissions, limits and idempotency keys.
///
/// # Errors
/// The problem that the response would contain.
pub fn check(body: &[u8], default_currency: Currency) -> Result<Content, Problem> {
    let checked = draft::read(body)?.check(default_currency);
    checked.map_err(|problems| {
        let ApiError(problem) = ApiError::from(Error::Invalid(problems));
        problem
    })
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;

    use super::*;

    #[test]
    fn shape_and_rules_are_checked() {
        let check = |body: &str| check(body.as_bytes(), Currency::USD);
        let valid = check(r#"{"item":"Tea","quantity":2,"price":1.50}"#).unwrap();
        assert_eq!(valid.total.to_string(), "3.00");
        for (body, code) in [
            ("{", ErrorCode::MalformedJson),
            (r#"{"item":"Tea","quantity":2,"price":1.50,"sku":"a"}"#, ErrorCode::InvalidInput),
            (r#"{"item":"Tea","quantity":0,"price":1.505}"#, ErrorCode::InvalidOrder),
        ] {
            assert_eq!(check(body).unwrap_err().code(), code, "{body}");
        }
    }
}
