//! What a person has set up before a scenario of signing in (`auth/…`) begins.
//!
//! Each such scenario has a bridge of its own, in a home of its own: a person has one unanswered
//! page at most, and the suite plays its scenarios at once. The browser that the bridge opens pages
//! in is the `xdg-open` of the search path.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::environment::Environment;

/// The only client ID that the suite takes where it looks for a metadata document.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";

/// What the secret is stored as that a scenario gives its client.
const SECRET: &str = "suite-secret";

/// The home for the scenario: the given one, or one below it, where a bridge runs by now.
pub(crate) async fn home(
    environment: &Environment,
    program: &str,
    given: &str,
    url: &str,
) -> Result<String> {
    if !environment.scenario.starts_with("auth/") {
        return Ok(given.to_owned());
    }
    let home = format!("{given}/{}", environment.scenario);
    let config = Path::new(&home).join("config");
    fs::create_dir_all(&config)?;
    fs::write(config.join("config.toml"), configuration(environment, url)?)?;
    let person = Person {
        environment,
        program,
        home: &home,
    };
    person.run(&["bridge", "--detach"], "").await?;
    if let Some(secret) = environment.context["client_secret"].as_str() {
        person.run(&["secrets", "set", SECRET], secret).await?;
    }
    Ok(home)
}

/// `config.toml`. A client that was registered beforehand stands under the server it is for.
fn configuration(environment: &Environment, url: &str) -> Result<String> {
    let mut text = format!("[bridge]\nport = 0\nclient_metadata_url = \"{CLIENT_METADATA}\"\n");
    let context = &environment.context;
    if environment.scenario == "auth/pre-registration" {
        let id = context["client_id"].as_str().context("no client id")?;
        text += &format!(
            "[servers.suite]\nurl = \"{url}\"\n[servers.suite.auth]\nkind = \"client\"\n\
             client_id = {}\nclient_secret = {{ keychain = \"{SECRET}\" }}\n",
            Value::from(id)
        );
    }
    Ok(text)
}

/// Somebody at a terminal.
struct Person<'a> {
    environment: &'a Environment,
    program: &'a str,
    home: &'a str,
}

impl Person<'_> {
    /// Runs a command of the program to its end, with something on its stdin.
    async fn run(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut process = Command::new(self.program)
            .args(arguments)
            .args(["--home", self.home])
            .env_clear()
            .envs(self.environment.passed_on.clone())
            .env("POSTERN_LOG", "trace")
            .env("POSTERN_VAULT", "file")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut stdin = process.stdin.take().context("no stdin")?;
        // Most commands read nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let status = process.wait().await?;
        ensure!(status.success(), "{arguments:?} ended with {status}");
        Ok(())
    }
}
