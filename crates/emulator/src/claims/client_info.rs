//! The `client_info` parameter of responses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cloud::Member;

/// Returns `client_info`, which tells MSAL the signed-in user.
pub(crate) fn client_info(Member { tenant, user }: Member<'_>) -> String {
    let info = serde_json::json!({ "uid": user.object_id, "utid": tenant.id });
    URL_SAFE_NO_PAD.encode(info.to_string())
}
