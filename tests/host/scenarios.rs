//! The suite's client scenarios: what the host does in each.
//!
//! The suite checks what its servers receive. This checks the responses: each request gets one, and
//! no call fails, or every call fails.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    call::CallState, environment::Environment, response::sample, session::Session, skills,
};

/// The tool of the `auth/` scenarios.
const PROTECTED: &str = "test-tool";

/// What the scenario requires of the host.
enum Scenario {
    /// List the tools.
    ListTools,
    /// Call every tool with matching arguments.
    UseTools,
    /// Use everything that the server has.
    UseEverything,
    /// Call the tools that the context names.
    CallFromContext,
    /// Send a tool's schema back unchanged.
    EchoSchema,
    /// Call one tool while another waits for input.
    CallDuringInput,
    /// List the skills and load none.
    ListSkills,
    /// Load the skills whose files match the list.
    LoadSkills,
    /// Call a tool that requires a sign-in.
    UseProtected,
    /// Call a tool and expect an error.
    ExpectDenied,
}

impl Scenario {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "initialize" | "request-metadata" | "json-schema-ref-no-deref" => Self::ListTools,
            "tools_call"
            | "elicitation-sep1034-client-defaults"
            | "sse-retry"
            | "http-invalid-tool-headers" => Self::UseTools,
            "http-standard-headers" => Self::UseEverything,
            "http-custom-headers" => Self::CallFromContext,
            "json-schema-2020-12-preservation" => Self::EchoSchema,
            "sep-2322-client-request-state" => Self::CallDuringInput,
            "sep-2640-client-no-prefetch" => Self::ListSkills,
            "sep-2640-client-verify-digest"
            | "sep-2640-client-verify-size"
            | "sep-2640-client-verify-frontmatter" => Self::LoadSkills,
            "auth/resource-mismatch"
            | "auth/scope-retry-limit"
            | "auth/iss-supported-missing"
            | "auth/iss-wrong-issuer"
            | "auth/iss-unexpected"
            | "auth/iss-normalized"
            | "auth/metadata-issuer-mismatch" => Self::ExpectDenied,
            _ if name.starts_with("auth/") => Self::UseProtected,
            _ => return None,
        })
    }
}

/// Checks that the scenario is known, before anything is spawned.
pub(crate) fn check(name: &str) -> Result<()> {
    match Scenario::named(name) {
        Some(_) => Ok(()),
        None => bail!("`{name}` is not a scenario for this host"),
    }
}

/// When the host lists the tools again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolReload {
    /// After a `list_changed` notification.
    OnNotification,
    /// Never: it keeps the first list.
    Never,
}

/// Runs the scenario.
pub(crate) async fn play(
    environment: &Environment,
    reload: ToolReload,
    host: &mut Session,
) -> Result<()> {
    let scenario = Scenario::named(&environment.scenario).context("no scenario")?;
    match (scenario, reload) {
        (Scenario::ExpectDenied, ToolReload::OnNotification) => expect_denied(host).await,
        (Scenario::ExpectDenied, ToolReload::Never) => expect_listed_denied(host).await,
        (Scenario::UseProtected, ToolReload::Never) => use_listed_twice(host).await,
        (scenario, ToolReload::OnNotification | ToolReload::Never) => {
            play_open(scenario, environment, host).await
        }
    }
}

/// Runs a scenario without a sign-in, or with a host that handles the sign-in.
async fn play_open(
    scenario: Scenario,
    environment: &Environment,
    host: &mut Session,
) -> Result<()> {
    host.begin().await?;
    match scenario {
        Scenario::ListTools => tools(host).await.map(drop),
        Scenario::UseTools => use_tools(host).await,
        Scenario::UseEverything => use_everything(host).await,
        Scenario::CallFromContext => call_from_context(&environment.context, host).await,
        Scenario::EchoSchema => echo_schema(host).await,
        Scenario::CallDuringInput => call_during_input(host).await,
        Scenario::ListSkills => skills::list(host).await.map(drop),
        Scenario::LoadSkills => skills::load(host).await,
        Scenario::UseProtected => use_protected(host).await,
        Scenario::ExpectDenied => expect_denied(host).await,
    }
}

/// Returns the tools. The first list may be empty while the bridge connects. It may also have one
/// tool that signs the user in, which is called as a model would call it.
async fn tools(host: &mut Session) -> Result<Vec<Value>> {
    let listed = host.list("tools/list", "tools").await?;
    let has_more = match listed.first().and_then(placeholder_name) {
        Some(name) => host.call(name, json!({})).await.map(|_| true)?,
        None => listed.is_empty() && host.await_tools_changed().await?,
    };
    match has_more {
        true => host.list("tools/list", "tools").await,
        false => Ok(listed),
    }
}

/// Returns the name of a tool that stands in while the server's own tools are unknown.
fn placeholder_name(tool: &Value) -> Option<&str> {
    let name = tool["name"].as_str()?;
    let is_placeholder = ["sign_in_", "reconnect_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    is_placeholder.then_some(name)
}

async fn use_tools(host: &mut Session) -> Result<()> {
    let tools = tools(host).await?;
    ensure!(!tools.is_empty(), "no tools");
    for tool in tools {
        let name = tool["name"].as_str().context("a tool without a name")?;
        host.call(name, sample(&tool["inputSchema"])).await?;
    }
    Ok(())
}

async fn use_everything(host: &mut Session) -> Result<()> {
    use_tools(host).await?;
    for resource in host.list("resources/list", "resources").await? {
        let params = json!({ "uri": resource["uri"] });
        host.request("resources/read", params).await?;
    }
    for prompt in host.list("prompts/list", "prompts").await? {
        let params = json!({ "name": prompt["name"] });
        host.request("prompts/get", params).await?;
    }
    Ok(())
}

async fn call_from_context(context: &Value, host: &mut Session) -> Result<()> {
    tools(host).await?;
    let calls = context["toolCalls"].as_array().context("no calls given")?;
    for call in calls {
        let name = call["name"].as_str().context("a call of nothing")?;
        host.call(name, call["arguments"].clone()).await?;
    }
    Ok(())
}

async fn echo_schema(host: &mut Session) -> Result<()> {
    let tools = tools(host).await?;
    let tool = tools
        .iter()
        .find(|tool| tool["name"] == "json_schema_2020_12_tool");
    let schema = &tool.context("no tool with a schema")?["inputSchema"];
    host.call("json_schema_echo", json!({ "schema": schema }))
        .await
        .map(drop)
}

/// Calls every tool to its end. The first tool's input request gets its response only after calls
/// of an unrelated tool.
async fn call_during_input(host: &mut Session) -> Result<()> {
    tools(host).await?;
    let state = host.begin_call("test_mrtr_echo_state", json!({})).await?;
    let CallState::Asked(input_request) = state else {
        bail!("nothing was asked");
    };
    host.call("test_mrtr_unrelated", json!({})).await?;
    let CallState::Done(_) = host.continue_call(input_request).await? else {
        bail!("something was asked twice");
    };
    host.call("test_mrtr_no_state", json!({})).await?;
    host.call("test_mrtr_no_result_type", json!({})).await?;
    Ok(())
}

/// Calls a protected tool, which waits for the sign-in. Every server of these scenarios has this
/// tool, and one of them requires another sign-in after the first call.
async fn use_protected(host: &mut Session) -> Result<()> {
    for _ in 0..2 {
        tools(host).await?;
        host.call(PROTECTED, json!({})).await?;
    }
    use_tools(host).await
}

/// Lists the tools and calls each, twice: one scenario requires another sign-in after the first
/// call.
async fn use_listed_twice(host: &mut Session) -> Result<()> {
    host.begin().await?;
    for _ in 0..2 {
        for name in listed(host).await? {
            host.call(&name, json!({})).await?;
        }
    }
    Ok(())
}

/// Checks that listing fails, or that each listed tool fails, and that the error names the reason.
async fn expect_listed_denied(host: &mut Session) -> Result<()> {
    host.begin().await?;
    let mut refusals = Vec::new();
    match listed(host).await {
        Err(refused) => refusals.push(refused),
        Ok(names) => {
            for name in names {
                let called = host.call(&name, json!({})).await;
                refusals.push(called.err().context("the call got through")?);
            }
        }
    }
    for refused in refusals {
        let is_ours = [
            "localhost needs a sign-in",
            "sign-in to localhost",
            "localhost does not",
        ]
        .iter()
        .any(|words| refused.to_string().contains(words));
        ensure!(is_ours, "no reason: {refused}");
    }
    Ok(())
}

/// Returns the names of the tools in the first list. Fails if it is empty.
async fn listed(host: &mut Session) -> Result<Vec<String>> {
    let tools = host.list("tools/list", "tools").await?;
    ensure!(!tools.is_empty(), "no tools");
    let names = tools.iter().map(|tool| tool["name"].as_str());
    let names = names.map(|name| name.map(str::to_owned));
    names
        .collect::<Option<_>>()
        .context("a tool without a name")
}

/// Checks that the call fails with an error of the program's own, whatever the handshake returns.
async fn expect_denied(host: &mut Session) -> Result<()> {
    let greeted = host.begin().await;
    let called = host.call(PROTECTED, json!({})).await;
    let refused = called.err().context("the call got through")?;
    ensure!(
        refused.to_string().contains(r#""hint":"#),
        "{refused} ({greeted:?})"
    );
    Ok(())
}
