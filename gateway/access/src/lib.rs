//! Access control: turns the credentials of a request into a [`Principal`](domain::Principal).
//!
//! | to see | read |
//! |---|---|
//! | the format of API keys | `key` |
//! | how a request is authenticated | `authenticator` |
//! | the cache of verified keys | `key_cache` |
//! | the limits of keys and tenants | `quotas` |
//! | how keys are created, rotated and revoked | `manage` |

mod authenticator;
mod key;
mod key_cache;
mod key_use;
mod manage;
mod quotas;

pub use authenticator::{AuthError, Authenticator};
pub use key::{InvalidKey, Key};
pub use manage::{
    IssuedKey, KeyError, KeyRequest, MAX_GRACE, MAX_KEY_NAME, MAX_KEY_TTL, NewKeyTenant, create,
    create_first, revoke, rotate,
};
