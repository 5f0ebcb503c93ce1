//! What the demo writes: the configuration of gateway and bridge, and the gateway's secrets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::Home;
use emulator::demo;

use super::world::SERVER;

/// Where the parts listen.
pub(super) struct Addresses {
    pub(super) emulator: SocketAddr,
    pub(super) snippets: SocketAddr,
    pub(super) gateway: SocketAddr,
}

/// Where clients reach the gateway.
pub(super) fn public_url(gateway: &SocketAddr) -> String {
    format!("http://localhost:{}", gateway.port())
}

/// `gateway.toml`.
pub(super) fn gateway_file(folder: &Path) -> PathBuf {
    folder.join("gateway/gateway.toml")
}

fn functions_key_file(folder: &Path) -> PathBuf {
    gateway_file(folder).with_file_name("functions-key")
}

/// What the gateway and the sample server share.
pub(super) fn functions_key(folder: &Path) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(functions_key_file(folder))?)
}

/// `gateway.toml` and its secrets.
pub(super) fn write_gateway_files(folder: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let file = gateway_file(folder);
    std::fs::create_dir_all(file.with_file_name(""))?;
    let key = functions_key_file(folder);
    if !key.exists() {
        write_secret(&key, &random()?)?;
    }
    write_secret(
        &file.with_file_name("entra-client-secret"),
        demo::GATEWAY_SECRET,
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
        "# Written by `postern demo`.\n\
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

/// `config.toml`.
pub(super) fn write_bridge_config(home: &Home, addresses: &Addresses) -> std::io::Result<()> {
    let file = home.config_file();
    std::fs::create_dir_all(file.with_file_name(""))?;
    // Port 0 takes any free one, so that the demo stands in nobody's way.
    let text = format!(
        "# Written by `postern demo`.\n\
         version = 1\n\n\
         [bridge]\n\
         port = 0\n\n\
         [servers.{SERVER}]\n\
         url = \"{}/{SERVER}/mcp\"\n",
        public_url(&addresses.gateway)
    );
    std::fs::write(file, text)
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, secret.as_bytes())
}

pub(super) fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use model::config::gateway::GatewayConfig;

    use super::{Addresses, gateway_config};

    #[test]
    fn the_gateways_configuration_is_one() {
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
}
