//! Secrets that the user stores by name.

use auth::{ClientMetadata, Identity, IdentityOptions, SecretError, Vault};
use model::{Clock, SecretName};

fn identity(vault: Vault) -> Identity {
    Identity::new(IdentityOptions {
        http: auth::http::HttpClients::new([], &model::config::Proxy::None).unwrap(),
        vault,
        clock: Clock::system(),
        client: ClientMetadata {
            name: "test".to_owned(),
            document_url: None,
        },
        is_other_user: |_, _| false,
    })
}

#[tokio::test]
async fn secret_is_sealed_and_survives_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || identity(Vault::file(dir.path()));
    let names = ["crm-key", "other"].map(|name| name.parse::<SecretName>().unwrap());
    let [crm, other] = &names;

    let first = open();
    assert!(first.secret(crm).await.unwrap().is_none());
    first
        .keep_secret(crm.clone(), "s3cret-before")
        .await
        .unwrap();
    first
        .keep_secret(crm.clone(), "s3cret-value")
        .await
        .unwrap();
    first
        .keep_secret(other.clone(), "s3cret-two")
        .await
        .unwrap();

    let second = open();
    assert_eq!(second.secrets().await.unwrap(), names);
    let value = second.secret(crm).await.unwrap().unwrap();
    assert_eq!(value, "s3cret-value");
    assert!(value.is_sensitive() && !format!("{value:?}").contains("s3cret"));
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"s3cret"), "{path:?}");
        assert!(!path.to_string_lossy().contains("crm"), "{path:?}");
    }

    assert!(second.forget_secret(crm).await.unwrap());
    assert!(!second.forget_secret(crm).await.unwrap());
    assert_eq!(open().secrets().await.unwrap(), names[1..]);
}

#[tokio::test]
async fn invalid_header_value_is_not_stored() {
    let identity = identity(Vault::memory());
    let name: SecretName = "crm-key".parse().unwrap();
    for value in ["", " padded", "two\nlines", "ünï"] {
        let refused = identity.keep_secret(name.clone(), value).await.unwrap_err();
        assert!(matches!(refused, SecretError::Unfit), "{refused}");
    }
    assert!(identity.secrets().await.unwrap().is_empty());
}
