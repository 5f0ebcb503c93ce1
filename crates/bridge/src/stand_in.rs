//! The stand-in tool, which a host gets while the tools of its server are unknown.
//!
//! Owns: its names, descriptions and results, and the instructions of a handshake that the server
//! did not answer. Does not own: when the tool is offered (`server_cache`), or what a call of it
//! starts (`session`).
//!
//! Invariants: a tool of the server with the same name takes precedence. Nothing here is cached,
//! shown in the window, or sent to a server.

use std::borrow::Cow;

use control::api::{Problem, ProblemKind};
use mcp::{Era, Message};
use model::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::problem;

/// The maximum length of the name, in characters. Hosts add prefixes, and many limit the whole to
/// 64.
const MAX_NAME: usize = 40;

/// The maximum number of tools that a result names.
const MAX_LISTED: usize = 20;

/// What a call of the tool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StandIn {
    /// Signs the user in.
    SignIn,
    /// Connects to the server again.
    Reconnect,
}

impl StandIn {
    /// Returns the tool that helps while `problem` keeps the server's tools unknown.
    pub(crate) fn for_problem(problem: &Problem) -> Self {
        match problem.kind {
            ProblemKind::SignInNeeded | ProblemKind::SignInEnded => Self::SignIn,
            ProblemKind::Unreachable
            | ProblemKind::Untrusted
            | ProblemKind::NotMcp
            | ProblemKind::NotFound
            | ProblemKind::Invalid
            | ProblemKind::Vault
            | ProblemKind::InUse
            | ProblemKind::NotOffered
            | ProblemKind::Failed => Self::Reconnect,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in_",
            Self::Reconnect => "reconnect_",
        }
    }

    /// Returns the tool's name: `sign_in_SERVER` or `reconnect_SERVER`, cut to [`MAX_NAME`].
    pub(crate) fn tool_name(self, server: &ServerName) -> String {
        let mut name = format!("{}{server}", self.prefix());
        // Server names are ASCII.
        name.truncate(MAX_NAME);
        name
    }

    /// Returns the stand-in tool of `server` that `request` calls, or `None` if it is another
    /// request.
    pub(crate) fn called_by(request: &Message, server: &ServerName) -> Option<Self> {
        #[derive(Deserialize)]
        struct Call<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        if request.method() != Some("tools/call") {
            return None;
        }
        let params = request.params()?.get();
        [Self::SignIn, Self::Reconnect].into_iter().find(|tool| {
            // Most calls are of other tools and may have long arguments.
            mcp::json::contains(params.as_bytes(), tool.prefix().as_bytes())
                && mcp::json::read::<Call<'_>>(params)
                    .is_ok_and(|call| call.name == tool.tool_name(server))
        })
    }

    /// Describes the tool as an item of `tools/list`.
    pub(crate) fn tool(self, server: &ServerName) -> Value {
        let (title, description) = match self {
            Self::SignIn => (
                format!("Sign in to {server}"),
                format!(
                    "Signs the user in to the MCP server `{server}`. The tools of {server} are not available before that. Call this tool when the user asks for anything from {server}. It opens the sign-in page, waits for the user, and says what happened."
                ),
            ),
            Self::Reconnect => (
                format!("Reconnect to {server}"),
                format!(
                    "Connects to the MCP server `{server}` again. The tools of {server} are not available, because Postern cannot use it at the moment. Call this tool when the user asks for anything from {server}. It says whether the connection works now, and the reason if it does not."
                ),
            ),
        };
        json!({
            "name": self.tool_name(server),
            "title": title,
            "description": description,
            "inputSchema": { "type": "object", "properties": {} },
            "annotations": {
                "title": title,
                "readOnlyHint": false,
                "destructiveHint": false,
                "idempotentHint": true,
            },
        })
    }

    /// Returns the `instructions` of a handshake that the bridge answers. They stay true after the
    /// user has signed in or the server can be reached.
    pub(crate) fn instructions(self, server: &ServerName) -> String {
        let (sign_in, reconnect) = (
            Self::SignIn.tool_name(server),
            Self::Reconnect.tool_name(server),
        );
        let remedy = match self {
            Self::SignIn => format!(
                "the user was not signed in. To sign in, call the tool `{sign_in}`, or ask the user to sign in from Postern's tray menu or with `postern sign-in {server}`."
            ),
            Self::Reconnect => format!(
                "Postern could not use the server. If a tool `{reconnect}` or `{sign_in}` is listed, call it. To find the cause, ask the user to run `postern doctor`."
            ),
        };
        format!(
            "Postern connects this application to the MCP server `{server}`. When this connection began, the tools of {server} were not known, because {remedy} Then list the tools again."
        )
    }

    /// Answers a `call` of the tool, once the server has answered `tools/list` with `listed`.
    pub(crate) fn done(self, call: &Message, server: &ServerName, listed: &Message) -> Message {
        let done = match self {
            Self::SignIn => format!("Signed in to {server}; reload the tools."),
            Self::Reconnect => format!("Connected to {server}; reload the tools."),
        };
        let names = tool_names(listed);
        let text = match names.is_empty() {
            true => done,
            false => format!("{done} {server} offers: {}.", names.join(", ")),
        };
        result(call, &text, false)
    }
}

/// Answers a `call` that `problem` prevented, in words.
pub(crate) fn failed(call: &Message, server: &ServerName, problem: &Problem) -> Message {
    let text = problem::about(server.as_str(), problem).sentence();
    result(call, &text, true)
}

/// Builds the `tools/list` request that the server gets instead of a `call`. Its response shows
/// whether the server can be used.
pub(crate) fn listing(call: &Message) -> Option<Message> {
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Option<Value>,
    }
    let params = call.params();
    let meta = params.and_then(|params| mcp::json::read::<Params>(params.get()).ok()?.meta);
    let params = meta.map_or_else(|| json!({}), |meta| json!({ "_meta": meta }));
    Some(Message::request(call.id()?, "tools/list", Some(params)))
}

/// Returns the names in a `tools/list` response. Skips names with unusual characters.
fn tool_names(listed: &Message) -> Vec<String> {
    #[derive(Deserialize)]
    struct Listed {
        tools: Vec<Tool>,
    }
    #[derive(Deserialize)]
    struct Tool {
        name: String,
    }
    let is_plain = |name: &String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        name.len() <= 64 && name.chars().all(is_plain)
    };
    let listed = listed
        .result()
        .and_then(|result| mcp::json::read::<Listed>(result.get()).ok());
    let tools = listed.map(|listed| listed.tools).unwrap_or_default();
    let names = tools.into_iter().map(|tool| tool.name).filter(is_plain);
    names.take(MAX_LISTED).collect()
}

fn result(call: &Message, text: &str, is_error: bool) -> Message {
    let mut result = json!({
        "content": [{ "type": "text", "text": text }],
        "isError": is_error,
    });
    if Era::from_message(call) == Era::Modern {
        result["resultType"] = json!("complete");
    }
    match call.id() {
        Some(id) => Message::response(id, &result),
        None => Message::error_response(None, mcp::message::INVALID_REQUEST, text, None),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use control::api::{Problem, ProblemKind};
    use mcp::Message;
    use model::ServerName;

    use super::{MAX_NAME, StandIn, failed, listing};

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn call(name: &str, more: &str) -> Message {
        message(&format!(
            r#"{{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{{"name":"{name}"{more}}}}}"#
        ))
    }

    #[test]
    fn tool_name_is_cut_and_still_recognised() {
        let long: ServerName = "a".repeat(63).parse().unwrap();
        for tool in [StandIn::SignIn, StandIn::Reconnect] {
            let name = tool.tool_name(&long);
            assert_eq!(name.len(), MAX_NAME);
            assert_eq!(StandIn::called_by(&call(&name, ""), &long), Some(tool));
        }
        let short: ServerName = "notes".parse().unwrap();
        assert_eq!(StandIn::SignIn.tool_name(&short), "sign_in_notes");
        assert_eq!(StandIn::called_by(&call("sign_in_note", ""), &short), None);
    }

    #[test]
    fn listing_keeps_id_and_meta_of_call() {
        let call = call("sign_in_a", r#","arguments":{"x":1},"_meta":{"k":"v"}"#);
        let listing = listing(&call).unwrap();
        assert_eq!(listing.id(), call.id());
        assert_eq!(listing.method(), Some("tools/list"));
        assert_eq!(listing.params().unwrap().get(), r#"{"_meta":{"k":"v"}}"#);
    }

    #[test]
    fn stand_in_result_describes_outcome() {
        let server: ServerName = "notes".parse().unwrap();
        let call = call("sign_in_notes", "");
        let listed = message(
            r#"{"jsonrpc":"2.0","id":4,"result":{"tools":[{"name":"search"},{"name":"odd name"}]}}"#,
        );
        let done = StandIn::SignIn.done(&call, &server, &listed);
        assert_eq!(
            done.result().unwrap().get(),
            r#"{"content":[{"text":"Signed in to notes; reload the tools. notes offers: search.","type":"text"}],"isError":false}"#
        );
        let problem = Problem::new(
            ProblemKind::Unreachable,
            "the server cannot be reached: no route",
        )
        .with_hint("check the network");
        let failed = failed(&call, &server, &problem);
        assert!(
            failed
                .result()
                .unwrap()
                .get()
                .contains(r#""notes cannot be reached: no route. Check the network.""#),
            "{failed:?}"
        );
    }
}
