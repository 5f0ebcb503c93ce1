//! References to stored secrets.
//!
//! Owns: how a configuration refers to a secret. Does not own: the secret, and where it is stored.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::SecretName;

/// `{ secret = "NAME" }`: a secret that was stored with `postern secrets set NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = accept_keychain)]
pub struct SecretRef {
    /// Its name.
    #[serde(alias = "keychain")]
    pub secret: SecretName,
}

/// Adds the older spelling, `{ keychain = "NAME" }`, to the schema.
fn accept_keychain(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties") else {
        return;
    };
    let mut older = properties["secret"].clone();
    older["description"] = json!("The older spelling of `secret`.");
    older["deprecated"] = json!(true);
    properties["keychain"] = older;
    schema.remove("required");
    schema.insert(
        "oneOf".to_owned(),
        json!([{ "required": ["secret"] }, { "required": ["keychain"] }]),
    );
}

#[cfg(test)]
mod tests {
    use super::SecretRef;

    #[test]
    fn secret_ref_accepts_older_spelling_and_writes_secret() {
        let written = "secret = \"crm\"\n";
        for text in [written, "keychain = 'crm'"] {
            let reference: SecretRef = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&reference).unwrap(), written);
        }
        for text in ["", "secret = 'a'\nkeychain = 'b'"] {
            toml::from_str::<SecretRef>(text).unwrap_err();
        }
    }
}
