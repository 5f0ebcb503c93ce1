//! Decides which resources a server may have tokens for, if the authorization server grants by
//! scope alone.
//!
//! Entra names the resource in the scope and ignores or refuses `resource` (RFC 8707). So whatever
//! adds a scope to a request chooses the API of the token, and single sign-on completes such a
//! sign-in without a click. Therefore a server never chooses: its configuration does, or the user.
//!
//! Owns: the resources that a server may use, the scopes that count, which resource a server may
//! ask the user for, and what the user approved.
//! Does not own: asking the user (`sign_in`), and storing the answer (`token`).
//!
//! Invariants: challenges and metadata never add a resource to the set. The user is never asked
//! for one of Microsoft's own resources, or for that of another configured server.

mod allowed;
mod candidate;
mod foreign;
mod microsoft;
mod servers;

pub(crate) use allowed::AllowedResources;
pub(crate) use candidate::{CandidateError, candidate};
pub(crate) use foreign::ForeignScopes;
pub(crate) use microsoft::{UNNAMED, microsoft_resource};
pub use servers::ConfiguredServer;
pub(crate) use servers::ConfiguredServers;

/// Returns true if two identifiers name the same resource. Entra ignores case, and accepts an
/// application id with and without `api://`.
pub(crate) fn is_same_resource(one: &str, other: &str) -> bool {
    normalized(one) == normalized(other)
}

fn normalized(resource: &str) -> String {
    let resource = resource.trim_end_matches('/').to_ascii_lowercase();
    let id = ["api://", "spn:"]
        .iter()
        .find_map(|prefix| resource.strip_prefix(prefix));
    match id.filter(|id| crate::entra::is_guid(id)) {
        Some(id) => id.to_owned(),
        None => resource,
    }
}

#[cfg(test)]
mod tests {
    use super::is_same_resource;

    #[test]
    fn same_resource_ignores_case_and_api_prefix() {
        let id = "5e0c2c1a-7b64-4f1d-9c58-1d2a3b4c5d01";
        assert!(is_same_resource("api://Files", "API://files/"));
        assert!(is_same_resource(&format!("api://{id}"), &id.to_uppercase()));
        assert!(!is_same_resource("api://files", "files"));
        assert!(!is_same_resource("api://files", "api://files2"));
    }
}
