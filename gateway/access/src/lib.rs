//! Access control: turns the credentials of a request into a [`Principal`](domain::Principal).
//!
//! | to see | read |
//! |---|---|
//! | the format of API keys | `key` |
//! | how a request is authenticated | `authenticator` |
//! | how a token is verified, and where the keys of its issuer come from | `jwt` |
//! | the cache of verified credentials | `credential_cache` |
//! | the limits of keys and tenants | `quotas` |
//! | how a revocation reaches the cache | `key_changes` |
//! | how keys are created, rotated and revoked | `manage` |
//! | the links of customers to their orders | `tracking` |

mod authenticator;
mod credential_cache;
mod jwt;
mod key;
mod key_changes;
mod key_use;
mod manage;
mod quotas;
mod tracking;

pub use authenticator::{AuthError, Authenticator, Credentials};
pub use jwt::{
    Algorithm, Claim, InvalidAlgorithm, InvalidClaim, InvalidUrl, JwtConfig, KeyLocation, check_key_file,
    check_url,
};
pub use key::{InvalidKey, Key};
pub use manage::{
    IssuedKey, KeyError, KeyRequest, MAX_GRACE, MAX_KEY_NAME, MAX_KEY_TTL, NewKeyTenant, audit_log, create,
    create_first, list, revoke, rotate,
};
pub use tracking::{InvalidLink, LINK_TTL, MAX_LINK_TTL, TrackingError, TrackingLink, TrackingLinks, Visit};
