//! What the suite tells its client, and what a host passes on.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What the official SDKs let a server's process see of their environment.
const PASSED_ON: [&str; 6] = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];

/// The environment, read once.
pub(crate) struct Environment {
    /// Which scenario is played.
    pub(crate) scenario: String,
    /// What the scenario gives its client to work with; null where it gives nothing.
    pub(crate) context: Value,
    /// For the program.
    pub(crate) passed_on: Vec<(&'static str, String)>,
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the suite says everything by its environment"
    )]
    pub(crate) fn read() -> Result<Self> {
        let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO")
            .context("no scenario; hint: run the suite")?;
        let context = std::env::var("MCP_CONFORMANCE_CONTEXT").ok();
        let context = context.map(|context| serde_json::from_str(&context));
        let passed_on = PASSED_ON
            .into_iter()
            .filter_map(|name| Some((name, std::env::var(name).ok()?)));
        Ok(Self {
            scenario,
            context: context.transpose()?.unwrap_or_default(),
            passed_on: passed_on.collect(),
        })
    }
}
