//! The files that the demo writes: the configuration of gateway and bridge, and the gateway's
//! secrets.
//!
//! Invariants: the demo replaces only configuration files that a demo wrote. In the bridge's file
//! it changes only its own server.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use control::Home;
use emulator::demo;
use secrecy::ExposeSecret;
use toml_edit::DocumentMut;

use crate::random;

/// The server's name, at the bridge and at the gateway.
pub(super) const SERVER: &str = "snippets";

/// The first line of every file that a demo writes.
const DEMO_HEADER: &str = "# Written by `postern demo`.";

/// The addresses that the servers listen on.
pub(super) struct Addresses {
    pub(super) emulator: SocketAddr,
    pub(super) snippets: SocketAddr,
    pub(super) gateway: SocketAddr,
}

/// Checks that the demo would not replace a configuration of the user.
///
/// # Errors
/// If a file was not written by a demo, or cannot be read. The error names the file.
pub(super) fn check_unused(home: &Home) -> anyhow::Result<()> {
    let of_gateway = home.root().map(gateway_file);
    for file in std::iter::once(home.config_file()).chain(of_gateway) {
        let text = text_of(&file)?;
        anyhow::ensure!(
            text.is_none_or(|text| text.starts_with(DEMO_HEADER)),
            "{} was not written by a demo, and the demo would replace it; hint: give the demo another --home",
            file.display()
        );
    }
    Ok(())
}

/// Returns the content of a file, or `None` if it does not exist.
fn text_of(file: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// Returns the gateway's public URL.
pub(super) fn public_url(gateway: &SocketAddr) -> String {
    format!("http://localhost:{}", gateway.port())
}

/// Returns the path of `gateway.toml`.
pub(super) fn gateway_file(folder: &Path) -> PathBuf {
    folder.join("gateway/gateway.toml")
}

fn functions_key_file(folder: &Path) -> PathBuf {
    gateway_file(folder).with_file_name("functions-key")
}

/// Returns the key that the gateway and the sample server share.
pub(super) fn functions_key(folder: &Path) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(functions_key_file(folder))?)
}

/// Writes `gateway.toml` and its secrets.
pub(super) fn write_gateway_files(folder: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let file = gateway_file(folder);
    std::fs::create_dir_all(file.with_file_name(""))?;
    let key = functions_key_file(folder);
    if !key.exists() {
        files::replace(&key, random::secret()?.expose_secret().as_bytes())?;
    }
    files::replace(
        &file.with_file_name("entra-client-secret"),
        demo::GATEWAY_SECRET.as_bytes(),
    )?;
    std::fs::write(file, gateway_config(addresses))?;
    Ok(())
}

fn gateway_config(
    Addresses {
        emulator,
        snippets,
        gateway,
    }: &Addresses,
) -> String {
    format!(
        "{DEMO_HEADER}\n\
         version = 1\n\
         public_url = \"{public_url}\"\n\
         listen = \"{gateway}\"\n\
         name = \"Contoso MCP gateway\"\n\
         root_server = \"{SERVER}\"\n\n\
         [entra]\n\
         authority = \"{base}/{tenant}/v2.0\"\n\
         client_id = \"{client}\"\n\
         client_secret = \"{{{{entra}}}}\"\n\n\
         [secrets.entra]\n\
         file = \"entra-client-secret\"\n\n\
         [secrets.functions-key]\n\
         file = \"functions-key\"\n\n\
         [servers.{SERVER}]\n\
         title = \"Snippets\"\n\
         url = \"http://{snippets}/mcp\"\n\
         sse_url = \"http://{snippets}/sse\"\n\
         headers = {{ x-functions-key = \"{{{{functions-key}}}}\" }}\n",
        public_url = public_url(gateway),
        base = emulator::base_url(*emulator),
        tenant = demo::TENANT_ID,
        client = demo::GATEWAY_CLIENT_ID,
    )
}

/// Writes `config.toml`. If an earlier demo wrote it, only the demo's server is changed.
pub(super) fn write_bridge_config(home: &Home, addresses: &Addresses) -> anyhow::Result<()> {
    let file = home.config_file();
    std::fs::create_dir_all(file.with_file_name(""))?;
    let url = format!("{}/{SERVER}/mcp", public_url(&addresses.gateway));
    let text = match text_of(&file)? {
        Some(earlier) => with_server_at(&url, &earlier)
            .with_context(|| format!("{} cannot be parsed", file.display()))?,
        None => bridge_config(&url),
    };
    Ok(std::fs::write(file, text)?)
}

/// Returns the bridge's configuration. Port 0 selects any free port, so that the demo does not
/// conflict with a running bridge.
fn bridge_config(url: &str) -> String {
    format!(
        "{DEMO_HEADER}\n\
         version = 1\n\n\
         [bridge]\n\
         port = 0\n\n\
         [servers.{SERVER}]\n\
         url = \"{url}\"\n"
    )
}

fn with_server_at(url: &str, earlier: &str) -> anyhow::Result<String> {
    let mut document: DocumentMut = earlier.parse()?;
    let servers = document.entry("servers").or_insert_with(toml_edit::table);
    let servers = servers
        .as_table_like_mut()
        .context("`servers` is not a table")?;
    let server = servers.entry(SERVER).or_insert_with(toml_edit::table);
    let server = server
        .as_table_like_mut()
        .context("the server is not a table")?;
    server.insert("url", toml_edit::value(url));
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use model::config::gateway::GatewayConfig;

    use super::{Addresses, bridge_config, gateway_config, with_server_at};

    #[test]
    fn gateway_configuration_is_valid() {
        let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses {
            emulator: at(1),
            snippets: at(2),
            gateway: at(3),
        };
        let config = GatewayConfig::parse(&gateway_config(&addresses)).unwrap();
        assert_eq!(config.public_url.as_str(), "http://localhost:3");
        assert_eq!(config.listen, at(3));
    }

    #[test]
    fn additions_to_bridge_configuration_are_kept() {
        let added = "\n# mine\n[servers.other]\nurl = \"https://o.example/mcp\"\n";
        let earlier = bridge_config("http://localhost:1/snippets/mcp") + added;
        let now = with_server_at("http://localhost:2/snippets/mcp", &earlier).unwrap();
        assert_eq!(
            now,
            bridge_config("http://localhost:2/snippets/mcp") + added
        );
    }
}
