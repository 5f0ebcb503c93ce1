//! Secrets that a person stores by name.

use auth::{Identity, IdentityOptions, Program, SecretError, Vault};
use model::{Clock, SecretName};

fn identity(vault: Vault) -> Identity {
    Identity::new(IdentityOptions {
        http: auth::http::Clients::new([], &model::config::Proxy::None).unwrap(),
        vault,
        clock: Clock::system(),
        program: Program {
            name: "test".to_owned(),
            metadata: None,
        },
        is_other_user: |_, _| false,
    })
}

#[tokio::test]
async fn a_secret_is_kept_sealed_and_comes_back_in_another_process() {
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
async fn what_no_header_can_carry_is_not_kept() {
    let identity = identity(Vault::memory());
    let name: SecretName = "crm-key".parse().unwrap();
    for value in ["", " padded", "two\nlines", "ünï"] {
        let refused = identity.keep_secret(name.clone(), value).await.unwrap_err();
        assert!(matches!(refused, SecretError::Unfit), "{refused}");
    }
    assert!(identity.secrets().await.unwrap().is_empty());
}
