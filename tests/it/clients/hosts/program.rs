//! The configuration and start of each host: one prompt, no account, no network beyond loopback.
//!
//! Owns: the settings of five programs, with telemetry and updates off.
//! Does not own: their prompts and the expected results.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::Command;

use super::super::{node, tools};
use crate::harness::program;

/// A third-party host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    ClaudeCode,
    Codex,
    GeminiCli,
    QwenCode,
    Opencode,
}

/// The server's entry in a host's configuration.
#[derive(Debug)]
pub(super) enum Entry {
    Stdio { command: String, args: Vec<String> },
    Http { url: String },
}

/// The API key that the hosts require. The model does not check it.
const KEY: &str = "of-no-account";

/// A proxy that does not exist, for hosts without a setting that turns their network off.
const UNREACHABLE: &str = "http://127.0.0.1:9";

impl Host {
    /// Writes the configuration under `home`, the host's own home folder.
    ///
    /// Returns the command that sends `prompt` to the model and exits after the model's final text.
    pub(super) fn command(self, home: &Path, model: &str, entry: &Entry, prompt: &str) -> Command {
        fs::create_dir_all(home.join("work")).expect("a folder");
        let mut command = match self {
            Self::ClaudeCode => claude_code(home, model, entry),
            Self::Codex => codex(home, model, entry),
            Self::GeminiCli => gemini_cli(home, model, entry),
            Self::QwenCode => qwen_code(home, model, entry),
            Self::Opencode => opencode(home, model, entry),
        };
        command
            .arg(prompt)
            .current_dir(home.join("work"))
            .env("HOME", home)
            .env("PATH", search_path())
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .env("USER", "someone")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

fn claude_code(home: &Path, model: &str, entry: &Entry) -> Command {
    let server = match entry {
        Entry::Stdio { command, args } => {
            json!({ "type": "stdio", "command": command, "args": args })
        }
        Entry::Http { url } => json!({ "type": "http", "url": url }),
    };
    let config = home.join("mcp.json");
    write_json(&config, &json!({ "mcpServers": { "snippets": server } }));
    let mut command = bare(native(&[
        "@anthropic-ai/claude-code-linux-x64/claude",
        "@anthropic-ai/claude-code-linux-arm64/claude",
    ]));
    command
        .env("ANTHROPIC_BASE_URL", model)
        .env("ANTHROPIC_API_KEY", KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        // Otherwise the model must search for the tools of servers.
        .env("ENABLE_TOOL_SEARCH", "false")
        .args(["--strict-mcp-config", "--allowedTools", "mcp__snippets"])
        .arg("--mcp-config")
        .arg(config)
        .args(["--output-format", "text", "--print"]);
    command
}

/// Codex requests its model without the tools of a server that is not ready at once, unless the
/// server is `required`.
fn codex(home: &Path, model: &str, entry: &Entry) -> Command {
    let server = match entry {
        Entry::Stdio { command, args } => format!(
            "command = {}\nargs = {}",
            Value::from(command.as_str()),
            Value::from(args.as_slice())
        ),
        Entry::Http { url } => format!("url = {}", Value::from(url.as_str())),
    };
    let config = format!(
        r#"
model = "scripted"
model_provider = "scripted"
check_for_update_on_startup = false
[model_providers.scripted]
name = "scripted"
base_url = "{model}/v1"
wire_api = "responses"
[features]
plugins = false
[analytics]
enabled = false
[mcp_servers.snippets]
required = true
{server}
"#
    );
    write(&home.join(".codex/config.toml"), &config);
    let vendor = "vendor/x86_64-unknown-linux-musl/bin/codex";
    let arm = "vendor/aarch64-unknown-linux-musl/bin/codex";
    let mut command = bare(native(&[
        &format!("@openai/codex-linux-x64/{vendor}"),
        &format!("@openai/codex-linux-arm64/{arm}"),
    ]));
    command.args([
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
    ]);
    command
}

fn gemini_cli(home: &Path, model: &str, entry: &Entry) -> Command {
    let settings = json!({
        "mcpServers": { "snippets": trusted(entry) },
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "general": { "enableAutoUpdate": false },
        "privacy": { "usageStatisticsEnabled": false },
    });
    write_json(&home.join(".gemini/settings.json"), &settings);
    let mut command = bare(node());
    command
        .arg(package("@google/gemini-cli/bundle/gemini.js"))
        .env("GOOGLE_GEMINI_BASE_URL", model)
        .env("GEMINI_API_KEY", KEY)
        .env("GEMINI_MODEL", "gemini-2.5-flash")
        // Otherwise it restarts itself with more memory.
        .env("GEMINI_CLI_NO_RELAUNCH", "true")
        .args(["--skip-trust", "--approval-mode", "yolo", "--prompt"]);
    command
}

fn qwen_code(home: &Path, model: &str, entry: &Entry) -> Command {
    let settings = json!({
        "mcpServers": { "snippets": trusted(entry) },
        "security": { "auth": { "selectedType": "openai" } },
        "general": { "enableAutoUpdate": false },
        "privacy": { "usageStatisticsEnabled": false },
        "model": { "name": "scripted" },
        // Otherwise the model must search for the tools of servers.
        "tools": { "toolSearch": { "enabled": false } },
    });
    write_json(&home.join(".qwen/settings.json"), &settings);
    let mut command = bare(node());
    command
        .arg(package("@qwen-code/qwen-code/cli-entry.js"))
        .env("OPENAI_BASE_URL", format!("{model}/v1"))
        .env("OPENAI_API_KEY", KEY)
        .arg("--yolo");
    command
}

fn opencode(home: &Path, model: &str, entry: &Entry) -> Command {
    let server = match entry {
        Entry::Stdio { command, args } => {
            let command: Vec<_> = [command].into_iter().chain(args).collect();
            json!({ "type": "local", "command": command })
        }
        Entry::Http { url } => json!({ "type": "remote", "url": url }),
    };
    let options = json!({ "baseURL": format!("{model}/v1"), "apiKey": KEY });
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "options": options,
        "models": { "scripted": {} },
    });
    let config = json!({
        "autoupdate": false,
        "share": "disabled",
        "model": "scripted/scripted",
        "permission": "allow",
        "provider": { "scripted": provider },
        "mcp": { "snippets": server },
    });
    write_json(&home.join(".config/opencode/opencode.json"), &config);
    let mut command = bare(native(&["opencode-linux-x64-baseline/bin/opencode"]));
    command
        .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
        .env("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1")
        .env("HTTPS_PROXY", UNREACHABLE)
        // With a title given, it requests none.
        .args(["run", "--pure", "--title", "a title"]);
    command
}

/// Returns the server's entry for Gemini CLI and for Qwen Code, which is based on it.
fn trusted(entry: &Entry) -> Value {
    match entry {
        Entry::Stdio { command, args } => {
            json!({ "command": command, "args": args, "trust": true })
        }
        Entry::Http { url } => json!({ "httpUrl": url, "trust": true }),
    }
}

/// Returns a command without our environment.
fn bare(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

/// Returns the program that is installed for this machine.
fn native(programs: &[&str]) -> PathBuf {
    let programs = programs.iter().map(|program| package(program));
    let found = programs.into_iter().find(|program| program.is_file());
    found.expect("a host; hint: `cargo xtask tools` installs it")
}

fn package(path: &str) -> PathBuf {
    tools().join("clients/hosts/node_modules").join(path)
}

/// Returns the search path, with the hosts' Node.js first if it is not the system's.
fn search_path() -> OsString {
    let node = node();
    let Some(folder) = node.parent().filter(|folder| folder.is_dir()) else {
        return program::search_path();
    };
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(program::search_path());
    path
}

fn write_json(file: &Path, content: &Value) {
    write(file, &content.to_string());
}

fn write(file: &Path, content: &str) {
    fs::create_dir_all(file.with_file_name("")).expect("a folder");
    fs::write(file, content).expect("a configuration");
}
