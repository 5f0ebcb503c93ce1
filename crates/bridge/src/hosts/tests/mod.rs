//! Tests of host files.

mod files;
mod mcp_remote;
mod paths;
mod random;
mod texts;

use super::edit::Server;

/// Builds an entry that Postern writes.
fn server(name: &str) -> Server {
    Server {
        name: name.to_owned(),
        command: "/opt/postern/postern".to_owned(),
        args: vec!["connect".to_owned(), name.to_owned()],
    }
}
