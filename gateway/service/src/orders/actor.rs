use std::sync::Arc;

use domain::{Principal, Requester};

/// The origin of a command, besides its principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// The name that the client states.
    pub name: Option<String>,
    /// The API, which is shown for an anonymous caller without a name: `REST`, `GraphQL`.
    pub via: &'static str,
    /// The id of the request, if there is one.
    pub request_id: Option<String>,
}

impl Actor {
    /// Returns the name of the caller: of the principal, and the one that the client states in brackets.
    pub(super) fn named(&self, principal: &Principal) -> Option<String> {
        match (&self.name, principal.is_anonymous()) {
            (name, true) => name.clone(),
            (None, false) => Some(principal.name.to_string()),
            (Some(name), false) => Some(format!("{} ({name})", principal.name)),
        }
    }

    /// Returns the caller for the reason of an event.
    pub(super) fn described(&self, principal: &Principal) -> String {
        self.named(principal).map_or_else(|| format!("over {}", self.via), |name| format!("by {name}"))
    }

    /// Returns the caller for the audit log.
    pub(super) fn requester(&self, principal: &Principal) -> Arc<Requester> {
        Arc::new(Requester { name: principal.name.clone(), request_id: self.request_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_is_named_before_the_claim_of_the_client() {
        let actor =
            |name: Option<&str>| Actor { name: name.map(str::to_owned), via: "REST", request_id: None };
        let key = Principal { name: Arc::from("key:ops"), ..Principal::anonymous() };
        assert_eq!(actor(Some("ann")).described(&key), "by key:ops (ann)");
        assert_eq!(actor(None).described(&key), "by key:ops");
        assert_eq!(actor(Some("ann")).described(&Principal::anonymous()), "by ann");
        assert_eq!(actor(None).described(&Principal::anonymous()), "over REST");
        assert_eq!(&*actor(Some("ann")).requester(&key).name, "key:ops");
    }
}
