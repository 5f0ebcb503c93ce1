//! The three tools, which the SDK serves on every transport.
//!
//! Owns: names, descriptions and texts of the tools. Does not own: HTTP, except that it reads the
//! [`User`] that the access check attached to the request.

use std::sync::Arc;

use rmcp::ServerHandler;
use rmcp::handler::server::tool::{Extension, schema_for_input};
use rmcp::model::{Implementation, JsonObject, ServerCapabilities, ServerConfig};
use rmcp::{tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::access::User;
use crate::store::{Store, StoreError};

/// The server handler, one per session or request. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Snippets {
    store: Arc<Store>,
}

/// The error text for the model. The SDK marks the result with `isError`.
type ToolError = String;

#[derive(Deserialize, JsonSchema)]
struct GetSnippet {
    /// The name of the snippet.
    snippetname: String,
}

#[derive(Deserialize, JsonSchema)]
struct SaveSnippet {
    /// The name of the snippet.
    snippetname: String,
    /// The content of the snippet.
    snippet: String,
}

#[tool_router]
impl Snippets {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    #[tool(description = "Says hello.", annotations(read_only_hint = true))]
    async fn hello_mcp(&self) -> String {
        "Hello I am MCPTool!".to_owned()
    }

    #[tool(
        description = "Returns the snippet that was saved under a name.",
        input_schema = schema_for_input::<GetSnippet>().expect("a struct's schema is an object"),
        annotations(read_only_hint = true)
    )]
    async fn get_snippet(
        &self,
        Extension(request): Extension<http::request::Parts>,
        arguments: JsonObject,
    ) -> Result<String, ToolError> {
        let GetSnippet { snippetname } = parse("get_snippet", arguments)?;
        let user = user(&request)?;
        self.with_store(move |store| store.load(&user, &snippetname))
            .await
    }

    #[tool(
        description = "Saves a snippet under a name, in place of one that has the name already.",
        input_schema = schema_for_input::<SaveSnippet>().expect("a struct's schema is an object"),
        annotations(destructive_hint = true, idempotent_hint = true)
    )]
    async fn save_snippet(
        &self,
        Extension(request): Extension<http::request::Parts>,
        arguments: JsonObject,
    ) -> Result<String, ToolError> {
        let SaveSnippet {
            snippetname,
            snippet,
        } = parse("save_snippet", arguments)?;
        let user = user(&request)?;
        self.with_store(move |store| {
            store.save(&user, &snippetname, &snippet)?;
            Ok(format!("Snippet {snippetname:?} saved."))
        })
        .await
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ToolError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped).into()));
        if let Err(StoreError::Io(cause)) = &done {
            tracing::error!(%cause, "the snippet store failed");
        }
        done.map_err(|error| error.to_string())
    }
}

#[tool_handler]
impl ServerHandler for Snippets {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("snippets", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Keeps snippets of text by name, for each user apart: save_snippet, then get_snippet.",
            )
    }
}

/// Parses the arguments of a tool call. A missing or ill-typed argument is the model's mistake, so
/// it becomes a tool error: hosts do not show protocol errors to the model, which could fix them.
fn parse<T: DeserializeOwned>(tool: &str, arguments: JsonObject) -> Result<T, ToolError> {
    serde_json::from_value(arguments.into()).map_err(|error| {
        format!("{tool}: {error}; hint: pass every argument that the tool's input schema requires, as strings")
    })
}

fn user(request: &http::request::Parts) -> Result<User, ToolError> {
    request
        .extensions
        .get()
        .cloned()
        .ok_or_else(|| "the request reached the tool without passing the access check".to_owned())
}
