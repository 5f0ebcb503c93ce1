//! Tenants from a file: signs in with the example of `docs/emulator.md`.

use std::path::Path;

use emulator::{Tenant, tenants};
use model::config::emulator::EmulatorConfig;

use crate::harness::{Browser, Harness};

/// Returns the literal example.
fn example() -> String {
    let text = include_str!("../../../../docs/emulator.md");
    let (_, rest) = text.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn read(text: &str) -> anyhow::Result<(Tenant, Vec<Tenant>)> {
    let config = EmulatorConfig::parse(text)?;
    tenants(&config, Path::new("/nowhere"))
}

#[tokio::test]
async fn documented_config_example_allows_sign_in() {
    let (tenant, others) = read(&example()).unwrap();
    assert!(others.is_empty());
    let (id, user) = (tenant.id, tenant.users[0].username.clone());
    let client = tenant.apps[0].client_id.to_string();
    let scope = format!(
        "{}/{}",
        tenant.apps[1].app_id_uris[0], tenant.apps[1].scopes[0]
    );
    let harness = Harness::with(tenant).await;
    let url = harness
        .authorize(&[("client_id", &client), ("scope", &scope)])
        .replace(&emulator::demo::TENANT_ID.to_string(), &id.to_string());
    let page = Browser::new().sign_in(&url, &user).await;
    assert!(page.parameter("code").len() > 60);
}

#[test]
fn invalid_config_error_names_app() {
    let example = example();
    for (from, to, part) in [
        ("secret =", "# secret =", "hint: add `secret = "),
        (
            "platform = \"web\"",
            "platform = \"spa\"",
            "must not have a secret; hint:",
        ),
        (
            "platform = \"web\"",
            "access_token_version = 3\nplatform = \"web\"",
            "use 1 or 2",
        ),
        (
            "platform = \"web\"",
            "certificates = [\"api.pem\"]\nplatform = \"web\"",
            "/nowhere/api.pem cannot be used",
        ),
    ] {
        let error = read(&example.replace(from, to)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("the app \"Orders API\": "), "{text}");
        assert!(text.contains(part), "{text}");
    }
    let none = read("tenants = []").unwrap_err().to_string();
    assert!(none.contains("hint: add a [[tenants]] table"), "{none}");
}
