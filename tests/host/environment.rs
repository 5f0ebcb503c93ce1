//! The environment that the suite sets, and what a host passes on.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The variables that the official SDKs pass to a server process.
const PASSED_ON: [&str; 6] = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];

/// The environment, read once at startup.
pub(crate) struct Environment {
    /// The scenario to run.
    pub(crate) scenario: String,
    /// The context that the scenario gives its client. Null if it gives none.
    pub(crate) context: Value,
    /// The environment of the program.
    pub(crate) passed_on: Vec<(&'static str, String)>,
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the suite configures its client by environment variables"
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
