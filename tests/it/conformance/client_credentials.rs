//! The suite's scenarios for the client credentials grant, an extension of MCP
//! (`io.modelcontextprotocol/oauth-client-credentials`) that no revision scores.

use std::fs;

use super::{
    folder,
    suite::{Report, suite},
};
use crate::harness::{bridge::Bridge, program, shim};

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_scenario_passes() {
    check("client-credentials-basic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_key_jwt_scenario_passes() {
    check("client-credentials-jwt").await;
}

/// Runs an `auth` scenario. All checks must pass.
async fn check(scenario: &str) {
    let folder = folder();
    let bridge = Bridge::configured(folder.path(), "[bridge]\nport = 0\n");
    bridge.start().await;
    let results = folder.path().join("results");
    fs::create_dir(&results).expect("a folder");
    let command = r#"node "$HOST" "$POSTERN" "$ROOT" "$CONFIG""#;
    let name = format!("auth/{scenario}");
    let mut suite = suite(
        &["client", "--command", command, "--scenario", &name],
        &results,
    );
    let environment = shim::environment(&bridge);
    suite
        .envs(environment.into_iter().filter(|(name, _)| *name != "PATH"))
        .env(
            "HOST",
            concat!(env!("CARGO_MANIFEST_DIR"), "/clients/program.mjs"),
        )
        .env("POSTERN", program::postern())
        .env("ROOT", bridge.root())
        .env("CONFIG", bridge.state().await.bridge.config_file);
    let report = Report::run(suite, &results.join("auth"), "").await;
    let [played] = &report.scenarios[..] else {
        panic!("{}", report.said);
    };
    assert!(
        played.failures.is_empty() && played.warnings.is_empty() && played.passed > 0,
        "{played}: {}",
        report.said
    );
    assert_eq!(bridge.browser.page_count(), 0, "no page was opened");
}
