//! The suite's client scenarios: what the host does in each.
//!
//! The suite looks at what arrives at its servers. What has to come back is looked at here: that
//! every request is answered, and no call with an error; or that none gets through.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    call::{Turn, filled},
    environment::Environment,
    session::Conversation,
    skills,
};

/// The tool of the scenarios of signing in.
const PROTECTED: &str = "test-tool";

/// What a host can be asked to do.
enum Scenario {
    /// List the tools.
    Look,
    /// Call every tool with arguments that fit.
    UseTools,
    /// Use everything that the server has.
    UseEverything,
    /// Call tools as the context says.
    AsGiven,
    /// Send a tool's schema back as it came.
    Echo,
    /// Call one tool while another waits for input.
    Interrupt,
    /// List the skills and load none.
    ListSkills,
    /// Load the skills, as far as they are what they are said to be.
    LoadSkills,
    /// Use a tool for which somebody has to sign in.
    UseProtected,
    /// Call a tool that nobody may get to.
    BeTurnedAway,
}

impl Scenario {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "initialize" | "request-metadata" | "json-schema-ref-no-deref" => Self::Look,
            "tools_call"
            | "elicitation-sep1034-client-defaults"
            | "sse-retry"
            | "http-invalid-tool-headers" => Self::UseTools,
            "http-standard-headers" => Self::UseEverything,
            "http-custom-headers" => Self::AsGiven,
            "json-schema-2020-12-preservation" => Self::Echo,
            "sep-2322-client-request-state" => Self::Interrupt,
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
            | "auth/metadata-issuer-mismatch" => Self::BeTurnedAway,
            _ if name.starts_with("auth/") => Self::UseProtected,
            _ => return None,
        })
    }
}

/// Whether the host knows what to do, before anything is spawned.
pub(crate) fn check(name: &str) -> Result<()> {
    match Scenario::named(name) {
        Some(_) => Ok(()),
        None => bail!("`{name}` is not a scenario for this host"),
    }
}

/// How a host goes about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It lists the tools again once there may be others.
    Attentive,
    /// It takes the first list for what there is.
    Plain,
}

/// Does what the scenario asks for.
pub(crate) async fn play(
    environment: &Environment,
    manner: Manner,
    host: &mut Conversation,
) -> Result<()> {
    let scenario = Scenario::named(&environment.scenario).context("no scenario")?;
    match (scenario, manner) {
        (Scenario::BeTurnedAway, Manner::Attentive) => be_turned_away(host).await,
        (Scenario::BeTurnedAway, Manner::Plain) => be_turned_away_plainly(host).await,
        (Scenario::UseProtected, Manner::Plain) => use_listed_twice(host).await,
        (scenario, Manner::Attentive | Manner::Plain) => {
            play_open(scenario, environment, host).await
        }
    }
}

/// A scenario in which the host has nothing to do with a sign-in, or knows what to do.
async fn play_open(
    scenario: Scenario,
    environment: &Environment,
    host: &mut Conversation,
) -> Result<()> {
    host.begin().await?;
    match scenario {
        Scenario::Look => tools(host).await.map(drop),
        Scenario::UseTools => use_tools(host).await,
        Scenario::UseEverything => use_everything(host).await,
        Scenario::AsGiven => call_as_given(&environment.context, host).await,
        Scenario::Echo => echo(host).await,
        Scenario::Interrupt => interrupt(host).await,
        Scenario::ListSkills => skills::list(host).await.map(drop),
        Scenario::LoadSkills => skills::load(host).await,
        Scenario::UseProtected => use_protected(host).await,
        Scenario::BeTurnedAway => be_turned_away(host).await,
    }
}

/// The tools. There may be none at first, where the server is still to be reached; or one in their
/// place, where the user is to sign in, which is called as a model would.
async fn tools(host: &mut Conversation) -> Result<Vec<Value>> {
    let listed = host.list("tools/list", "tools").await?;
    let has_more = match listed.first().and_then(stand_in) {
        Some(name) => host.call(name, json!({})).await.map(|_| true)?,
        None => listed.is_empty() && host.hear_of_tools().await?,
    };
    match has_more {
        true => host.list("tools/list", "tools").await,
        false => Ok(listed),
    }
}

/// The name of a tool that is listed as long as the server's own are not known.
fn stand_in(tool: &Value) -> Option<&str> {
    let name = tool["name"].as_str()?;
    let is_stand_in = ["sign_in_", "reconnect_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    is_stand_in.then_some(name)
}

async fn use_tools(host: &mut Conversation) -> Result<()> {
    let tools = tools(host).await?;
    ensure!(!tools.is_empty(), "no tools");
    for tool in tools {
        let name = tool["name"].as_str().context("a tool without a name")?;
        host.call(name, filled(&tool["inputSchema"])).await?;
    }
    Ok(())
}

async fn use_everything(host: &mut Conversation) -> Result<()> {
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

async fn call_as_given(context: &Value, host: &mut Conversation) -> Result<()> {
    tools(host).await?;
    let calls = context["toolCalls"].as_array().context("no calls given")?;
    for call in calls {
        let name = call["name"].as_str().context("a call of nothing")?;
        host.call(name, call["arguments"].clone()).await?;
    }
    Ok(())
}

async fn echo(host: &mut Conversation) -> Result<()> {
    let tools = tools(host).await?;
    let tool = tools
        .iter()
        .find(|tool| tool["name"] == "json_schema_2020_12_tool");
    let schema = &tool.context("no tool with a schema")?["inputSchema"];
    host.call("json_schema_echo", json!({ "schema": schema }))
        .await
        .map(drop)
}

/// Every tool is called to its end; the first one's question is answered only after the calls
/// of a tool that has nothing to do with it.
async fn interrupt(host: &mut Conversation) -> Result<()> {
    tools(host).await?;
    let turn = host.begin_call("test_mrtr_echo_state", json!({})).await?;
    let Turn::Asked(question) = turn else {
        bail!("nothing was asked");
    };
    host.call("test_mrtr_unrelated", json!({})).await?;
    let Turn::Done(_) = host.go_on(question).await? else {
        bail!("something was asked twice");
    };
    host.call("test_mrtr_no_state", json!({})).await?;
    host.call("test_mrtr_no_result_type", json!({})).await?;
    Ok(())
}

/// A call waits until somebody has signed in. Every server of these
/// scenarios has this tool, and one of them wants another sign-in after the first call.
async fn use_protected(host: &mut Conversation) -> Result<()> {
    for _ in 0..2 {
        tools(host).await?;
        host.call(PROTECTED, json!({})).await?;
    }
    use_tools(host).await
}

/// Lists the tools and calls each, and all that once more: one scenario wants another sign-in after
/// the first call.
async fn use_listed_twice(host: &mut Conversation) -> Result<()> {
    host.begin().await?;
    for _ in 0..2 {
        for name in listed(host).await? {
            host.call(&name, json!({})).await?;
        }
    }
    Ok(())
}

/// No list is to be had, or each call of what is listed fails. Either says why.
async fn be_turned_away_plainly(host: &mut Conversation) -> Result<()> {
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

/// The names of the tools in the first list, of which there is one at least.
async fn listed(host: &mut Conversation) -> Result<Vec<String>> {
    let tools = host.list("tools/list", "tools").await?;
    ensure!(!tools.is_empty(), "no tools");
    let names = tools.iter().map(|tool| tool["name"].as_str());
    let names = names.map(|name| name.map(str::to_owned));
    names
        .collect::<Option<_>>()
        .context("a tool without a name")
}

/// The call fails, whatever the handshake says, and the error is one of the program's own.
async fn be_turned_away(host: &mut Conversation) -> Result<()> {
    let greeted = host.begin().await;
    let called = host.call(PROTECTED, json!({})).await;
    let refused = called.err().context("the call got through")?;
    ensure!(
        refused.to_string().contains(r#""hint":"#),
        "{refused} ({greeted:?})"
    );
    Ok(())
}
