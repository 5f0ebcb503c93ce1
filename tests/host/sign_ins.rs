//! The preparation of an `auth/` scenario by the user.
//!
//! Each such scenario has its own bridge and home. A user has at most one open sign-in page, and
//! the suite runs its scenarios concurrently. The bridge opens pages with the `xdg-open` in `PATH`.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::environment::Environment;

/// The only client ID that the suite accepts as the URL of a client metadata document.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";

/// The name under which the scenario's client secret is stored.
const SECRET: &str = "suite-secret";

/// Returns the home for the scenario: `given`, or a folder below it, in which a bridge is started.
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
    let terminal = Terminal {
        environment,
        program,
        home: &home,
    };
    terminal.run(&["bridge", "--detach"], "").await?;
    if let Some(secret) = environment.context["client_secret"].as_str() {
        terminal.run(&["secrets", "set", SECRET], secret).await?;
    }
    Ok(home)
}

/// Returns the `config.toml`. A preregistered client is configured for its server.
fn configuration(environment: &Environment, url: &str) -> Result<String> {
    let mut text = format!("[bridge]\nport = 0\nclient_metadata_url = \"{CLIENT_METADATA}\"\n");
    let context = &environment.context;
    if environment.scenario == "auth/pre-registration" {
        let id = context["client_id"].as_str().context("no client id")?;
        text += &format!(
            "[servers.suite]\nurl = \"{url}\"\n[servers.suite.auth]\nkind = \"client\"\n\
             client_id = {}\nclient_secret = {{ secret = \"{SECRET}\" }}\n",
            Value::from(id)
        );
    }
    Ok(text)
}

/// A user at a terminal.
struct Terminal<'a> {
    environment: &'a Environment,
    program: &'a str,
    home: &'a str,
}

impl Terminal<'_> {
    /// Runs a command of the program to its end with `input` on stdin.
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
