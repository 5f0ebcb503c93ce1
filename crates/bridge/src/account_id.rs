//! The id of an account in the management API.

use auth::AccountKey;

/// Returns the id of the account in the management API.
pub(crate) fn account_id(key: &AccountKey) -> String {
    format!("{}#{}", key.issuer, key.subject)
}
