//! What README and docs show of configuration files is read as the programs read it.

use std::fs;
use std::path::{Path, PathBuf};

use model::config::emulator::EmulatorConfig;
use model::config::gateway::GatewayConfig;
use model::config::{BridgeConfig, ServerAuth};

/// Reads an example, and fails where it is none.
type Read = fn(&str);

/// What an example is a part of, by the file that shows it and how it begins.
const EXAMPLES: [(&str, &str, Read); 8] = [
    ("README.md", "version = 1\n\n[bridge]", bridge),
    ("README.md", "[servers.crm]", bridge),
    ("README.md", "[servers.nightly]", client_credentials),
    ("README.md", "[servers.crm]", bridge),
    ("docs/emulator.md", "version = 1\n\n[[tenants]]", emulator),
    ("docs/entra.md", "[servers.files]", bridge),
    ("docs/entra.md", "[servers.notes]", bridge),
    ("docs/entra.md", "[entra]", gateway),
];

#[test]
fn every_example_is_a_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for file in documents(&root) {
        let text = fs::read_to_string(&file).unwrap().replace("\r\n", "\n");
        let parts = file.strip_prefix(&root).unwrap().iter();
        let name: Vec<_> = parts.map(|part| part.to_str().unwrap()).collect();
        let name = name.join("/");
        found.extend(examples(&text).map(|example| (name.clone(), example.to_owned())));
    }
    let shown: Vec<_> = found.iter().map(|(file, text)| (file, text)).collect();
    assert_eq!(found.len(), EXAMPLES.len(), "{shown:#?}");
    for ((file, text), (expected, start, read)) in found.iter().zip(EXAMPLES) {
        assert_eq!(file, expected);
        assert!(text.starts_with(start), "{file}:\n{text}");
        read(text);
    }
}

/// The pages that people read, by name.
fn documents(root: &Path) -> Vec<PathBuf> {
    let folders = [root.to_owned(), root.join("docs")];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let mut pages: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    pages.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

fn examples(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("```toml\n").skip(1);
    after.map(|rest| rest.split_once("```").expect("its end").0)
}

fn parsed(text: &str) -> BridgeConfig {
    let config: BridgeConfig = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let contradiction = config.check().err();
    assert!(contradiction.is_none(), "{contradiction:?}\n{text}");
    config
}

fn bridge(text: &str) {
    assert!(!parsed(text).servers.is_empty(), "{text}");
}

fn client_credentials(text: &str) {
    let config = parsed(text);
    let is_program = |auth: &ServerAuth| matches!(auth, ServerAuth::ClientCredentials(_));
    assert!(
        config
            .servers
            .values()
            .any(|server| is_program(&server.auth)),
        "{text}"
    );
}

fn emulator(text: &str) {
    let config = EmulatorConfig::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(!config.tenants.is_empty(), "{text}");
}

/// The part that is shown, filled in, in the smallest file that can have it.
fn gateway(part: &str) {
    let part = part.replace("/TENANT/", "/11111111-0000-4000-8000-000000000001/");
    let url = "public_url = 'https://gateway.example.com'";
    let server = "[servers.files]\nurl = 'https://backend.example.com/mcp'";
    let text = format!("{url}\n{part}\n{server}\n");
    GatewayConfig::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
}
