//! The examples of configuration files in README and docs are valid, and links lead to files.

use std::fs;
use std::path::{Path, PathBuf};

use model::config::emulator::EmulatorConfig;
use model::config::gateway::GatewayConfig;
use model::config::{BridgeConfig, ServerAuth};

/// Parses an example, and panics if it is invalid.
type Read = fn(&str);

/// The examples: the document, the start of the example, and its parser.
const EXAMPLES: [(&str, &str, Read); 9] = [
    ("docs/emulator.md", "version = 1\n\n[[tenants]]", emulator),
    ("docs/entra.md", "[servers.files]", bridge),
    ("docs/entra.md", "[servers.notes]", bridge),
    ("docs/entra.md", "[entra]", part_of_gateway),
    (
        "docs/gateway/configuration.md",
        "version = 1\npublic_url",
        gateway,
    ),
    (
        "docs/user/configuration.md",
        "version = 1\n\n[bridge]",
        bridge,
    ),
    ("docs/user/configuration.md", "[servers.crm]", bridge),
    (
        "docs/user/configuration.md",
        "[servers.nightly]",
        client_credentials,
    ),
    ("docs/user/configuration.md", "[servers.crm]", bridge),
];

#[test]
fn every_example_is_valid() {
    let mut found = Vec::new();
    for (name, text) in documents() {
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

#[test]
fn every_link_leads_to_file() {
    let root = root();
    let mut count = 0;
    for (name, text) in documents() {
        let folder = root.join(&name).with_file_name("");
        for link in links(&text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root.join(&name),
                _ => folder.join(path),
            };
            assert!(target.exists(), "{name} links to {link}");
            if !heading.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut headings = headings(&text);
                assert!(headings.any(|known| known == heading), "{name}: {link}");
            }
            count += 1;
        }
    }
    assert!(count > 40, "only {count} links were found");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the documents at the root and in `docs`, with their paths from the root, sorted.
fn documents() -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, "", &mut paths);
    collect(&root, "docs/", &mut paths);
    paths.sort();
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).expect("a document");
        (path, text.replace("\r\n", "\n"))
    };
    paths.into_iter().map(read).collect()
}

/// Adds the documents of the folder `prefix`. Does not enter folders at the root.
fn collect(root: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(prefix)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        let path = format!("{prefix}{name}");
        let is_folder = entry.file_type().expect("a type").is_dir();
        if is_folder && !prefix.is_empty() {
            collect(root, &format!("{path}/"), paths);
        } else if !is_folder && name.ends_with(".md") {
            paths.push(path);
        }
    }
}

fn examples(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("```toml\n").skip(1);
    after.map(|rest| rest.split_once("```").expect("its end").0)
}

/// Returns the targets of links, except those on the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://"))
}

/// Returns the fragments that lead to the headings of a document.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    titles.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
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

/// Parses a whole file with its placeholders replaced.
fn gateway(text: &str) {
    let text = text.replace("/TENANT/", "/11111111-0000-4000-8000-000000000001/");
    GatewayConfig::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
}

/// Parses an excerpt with its placeholders replaced, in the smallest valid file.
fn part_of_gateway(part: &str) {
    let url = "public_url = 'https://gateway.example.com'";
    let server = "[servers.files]\nurl = 'https://backend.example.com/mcp'";
    gateway(&format!("{url}\n{part}\n{server}\n"));
}
