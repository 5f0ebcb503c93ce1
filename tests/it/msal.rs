//! Microsoft's unmodified clients against the emulator over TLS. The emulator must satisfy them as
//! Entra does.

use std::path::PathBuf;

use emulator::demo::{self, ADELE, LEE, MEGAN};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    clients::{node, tools},
    harness::{browser::Browser, claims, entra::Entra, sign_in_pages},
};

const PYTHON: &str = include_str!("../clients/msal_client.py");
const NODE: &str = include_str!("../clients/msal-client.mjs");

#[derive(Clone, Copy, Debug)]
enum Client {
    Python,
    Node,
}

impl Client {
    /// Returns the command that runs a case of its script.
    fn command(self, case: &str) -> Command {
        let (interpreter, script): (PathBuf, &[&str]) = match self {
            Self::Python => (tools().join("clients/python/bin/python"), &["-c", PYTHON]),
            Self::Node => (node(), &["--input-type=module", "--eval", NODE]),
        };
        let mut command = Command::new(interpreter);
        command
            .args(script)
            .arg(case)
            .current_dir(tools().join("clients/node"));
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_python_signs_in_refreshes_and_answers_claims_challenge() {
    sign_in(Client::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_node_signs_in_refreshes_and_answers_claims_challenge() {
    sign_in(Client::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_python_signs_in_with_device_code() {
    device_code(Client::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_node_signs_in_with_device_code() {
    device_code(Client::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_python_gets_on_behalf_of_token() {
    on_behalf_of(Client::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_node_gets_on_behalf_of_token() {
    on_behalf_of(Client::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_python_authenticates_with_four_credentials() {
    machine(Client::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_node_authenticates_with_four_credentials() {
    machine(Client::Node).await;
}

async fn sign_in(client: Client) {
    let entra = Entra::start().await;
    let contoso = demo::TENANT_ID.to_string();
    let fabrikam = demo::FABRIKAM_TENANT_ID.to_string();
    let consumers = emulator::CONSUMERS.to_string();
    let (bridge, notes) = (demo::BRIDGE_CLIENT_ID, demo::NOTES_CLIENT_ID);
    for (authority, app, scope, name, tenant) in [
        (&*contoso, bridge, demo::gateway_scope(), ADELE, &contoso),
        ("common", notes, "User.Read".to_owned(), MEGAN, &fabrikam),
        ("common", notes, "User.Read".to_owned(), LEE, &consumers),
    ] {
        let settings = entra.settings(authority, &app.to_string(), &scope);
        let command = client.command("sign-in");
        let user = async |line: &Value| open(line, name).await;
        let report = entra.run(command, &settings, user).await;
        assert_eq!(report["claims"]["tid"], **tenant, "{client:?}: {report}");
        assert_eq!(report["claims"]["preferred_username"], name);
        let account = report["account"].as_str().expect("an account");
        assert!(account.ends_with(&format!(".{tenant}")), "{account}");

        let [first, cached, refreshed, challenged] =
            ["first", "cached", "refreshed", "challenged"].map(|step| &report[step]);
        assert_eq!(
            (&cached["token"], &cached["cached"]),
            (&first["token"], &json!(true))
        );
        for new in [refreshed, challenged] {
            assert_ne!(new["token"], first["token"], "{client:?} {authority}");
            assert_eq!(new["cached"], false);
        }
        assert_ne!(challenged["token"], refreshed["token"]);
        for step in [first, refreshed, challenged] {
            assert_eq!(claims(&step["token"])["xms_cc"], json!(["cp1"]));
        }
        let refresh_in = first["refresh_in"].as_u64().expect("a time to refresh");
        assert!(refresh_in >= 10 * 60 * 60 - 60, "{refresh_in}");
    }
}

async fn device_code(client: Client) {
    let entra = Entra::start().await;
    let bridge = demo::BRIDGE_CLIENT_ID.to_string();
    let tenant = demo::TENANT_ID.to_string();
    let settings = entra.settings(&tenant, &bridge, &demo::gateway_scope());
    let user = async |line: &Value| {
        let browser = browser().await;
        browser.go_to(text(line, "page")).await;
        sign_in_pages::enter_device_code(&browser, text(line, "code"), ADELE).await;
    };
    let report = entra.run(client.command("device"), &settings, user).await;
    let said = claims(&report["first"]["token"]);
    assert_eq!(said["oid"], demo::ADELE_OBJECT_ID.to_string(), "{client:?}");
    assert_eq!(said["scp"], demo::GATEWAY_SCOPE);
    assert_eq!(report["accounts"], 1);
}

async fn on_behalf_of(client: Client) {
    let entra = Entra::start().await;
    let bridge = demo::BRIDGE_CLIENT_ID.to_string();
    let tenant = demo::TENANT_ID.to_string();
    let settings = entra.settings(&tenant, &bridge, &demo::gateway_scope());
    let command = client.command("on-behalf-of");
    let user = async |line: &Value| open(line, ADELE).await;
    let report = entra.run(command, &settings, user).await;
    let said = claims(&report["first"]["token"]);
    for (name, value) in [
        ("oid", demo::ADELE_OBJECT_ID.to_string()),
        ("appid", demo::GATEWAY_CLIENT_ID.to_string()),
        ("scp", demo::REPORTS_SCOPE.to_owned()),
        ("ver", "1.0".to_owned()),
    ] {
        assert_eq!(said[name], value, "{client:?} {name}");
    }
    check_cached(&report);
}

async fn machine(client: Client) {
    let entra = Entra::start().await;
    let settings = entra.settings(&demo::TENANT_ID.to_string(), "", "");
    let no_user = async |line: &Value| panic!("a machine needs a user: {line}");
    let report = entra
        .run(client.command("machine"), &settings, no_user)
        .await;
    for (credential, class) in [
        ("secret", "1"),
        ("sha256", "2"),
        ("sha1", "2"),
        ("federated", "2"),
    ] {
        let said = claims(&report[credential]["first"]["token"]);
        assert_eq!(said["appid"], demo::GATEWAY_CLIENT_ID.to_string());
        assert_eq!(said["appidacr"], class, "{client:?} {credential}");
        assert_eq!(said["roles"], json!([demo::REPORTS_ROLE]));
        assert!(said.get("scp").is_none(), "{said}");
        check_cached(&report[credential]);
    }
}

/// Checks that the client used its cache the second time.
fn check_cached(report: &Value) {
    let (first, again) = (&report["first"], &report["cached"]);
    assert_eq!(
        (&again["token"], &again["cached"]),
        (&first["token"], &json!(true))
    );
    assert_eq!(first["cached"], false);
}

/// Signs in on the page that a client opens.
async fn open(line: &Value, account: &str) {
    let browser = browser().await;
    browser.go_to(text(line, "open")).await;
    sign_in_pages::sign_in_at_entra(&browser, account).await;
    // The form that submits itself has reached the client.
    browser.find("body:not(:has(form))").await;
}

/// Returns a browser that ignores certificate errors: the clients check the certificate.
async fn browser() -> Browser {
    Browser::open_with(&["--ignore-certificate-errors"]).await
}

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name}: {line}"))
}
