//! `postern hosts import`.

use control::api::{HostId, HostImport, ImportedServer, Reply, Request};

use crate::context::{Context, unexpected};
use crate::error::CliError;
use crate::terminal;

/// Shows the planned import, asks for confirmation, and makes exactly these changes.
pub(super) async fn run(
    host: HostId,
    entries: Vec<String>,
    context: &Context,
) -> Result<(), CliError> {
    let preview = Request::PreviewHostImport {
        host,
        entries: entries.clone(),
    };
    let planned = import(context.call(&preview).await?)?;
    terminal::print(text(&planned));
    if planned.servers.is_empty() {
        return Ok(());
    }
    let exposed: Vec<_> = planned
        .servers
        .iter()
        .filter(|server| server.exposed)
        .collect();
    for server in &exposed {
        terminal::confirm_http(&server.url, "Import it", CANCELLED)?;
    }
    match terminal::confirm("\nMake all of these changes?") {
        Some(true) => {}
        Some(false) => return Err(CliError::new(CANCELLED)),
        None => {
            return Err(CliError::usage(
                "nothing was imported, because there is no terminal to confirm at",
                "run the command at a terminal",
            ));
        }
    }
    let make = Request::ImportFromHost {
        host,
        entries,
        allow_http: !exposed.is_empty(),
        approved: planned,
    };
    print_result(&import(context.call(&make).await?)?);
    Ok(())
}

const CANCELLED: &str = "nothing was imported";

fn import(reply: Reply) -> Result<HostImport, CliError> {
    match reply {
        Reply::HostImport(import) => Ok(import),
        other => Err(unexpected(&other)),
    }
}

fn print_result(made: &HostImport) {
    if let Some(backup) = &made.backup {
        terminal::print(format_args!(
            "\nBackup of the file, including its secrets: {backup}\nDelete it once everything works."
        ));
    }
    if let Some(afterwards) = &made.afterwards {
        terminal::print(afterwards);
    }
    for server in &made.servers {
        terminal::print(format_args!("Next: `postern servers test {}`", server.name));
    }
}

fn text(planned: &HostImport) -> String {
    let mut parts: Vec<String> = planned.servers.iter().map(server).collect();
    let left = planned.left.iter();
    parts.extend(left.map(|left| format!("{} stays as it is: {}", left.entry, left.reason)));
    if planned.servers.is_empty() {
        parts.push(format!("{} has no entries to import.", planned.path));
    } else {
        let configs = planned
            .servers
            .iter()
            .map(|server| lines("+", &server.config));
        let added: Vec<_> = configs.filter(|config| !config.is_empty()).collect();
        if !added.is_empty() {
            let added = added.join("+\n");
            parts.push(format!("{}\n\n{}", planned.config_path, added.trim_end()));
        }
        parts.push(format!("{}\n\n{}", planned.path, planned.diff.trim_end()));
    }
    parts.join("\n\n")
}

fn server(server: &ImportedServer) -> String {
    let ImportedServer {
        entry,
        name,
        url,
        config,
        secrets,
        remarks,
        ..
    } = server;
    let exists = if config.is_empty() {
        ", which already exists"
    } else {
        ""
    };
    let mut text = format!("{entry} becomes the server {name}{exists}: {url}");
    if !secrets.is_empty() {
        text += &format!("\n  secrets to be stored: {}", secrets.join(", "));
    }
    for remark in remarks {
        text += &format!("\n  {remark}");
    }
    text
}

fn lines(mark: &str, text: &str) -> String {
    text.lines().map(|line| format!("{mark}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use control::api::{HostImport, ImportedServer, SkippedEntry};

    use super::text;

    fn planned(servers: Vec<ImportedServer>) -> HostImport {
        HostImport {
            path: "/home/a/claude.json".to_owned(),
            diff: "-old\n+new\n".to_owned(),
            config_path: "/home/a/config.toml".to_owned(),
            servers,
            left: vec![SkippedEntry {
                entry: "odd".to_owned(),
                reason: "it names no address".to_owned(),
            }],
            backup: None,
            afterwards: None,
        }
    }

    #[test]
    fn preview_shows_result_for_each_entry() {
        let wiki = ImportedServer {
            entry: "Team wiki".to_owned(),
            name: "team-wiki".to_owned(),
            url: "https://wiki.example/mcp".to_owned(),
            exposed: false,
            config: "[servers.team-wiki]\nurl = \"https://wiki.example/mcp\"\n".to_owned(),
            secrets: vec!["team-wiki-x-key".to_owned()],
            remarks: vec!["`--debug`: `POSTERN_LOG=debug` has its place".to_owned()],
        };
        assert_eq!(
            text(&planned(vec![wiki])),
            "Team wiki becomes the server team-wiki: https://wiki.example/mcp
  secrets to be stored: team-wiki-x-key
  `--debug`: `POSTERN_LOG=debug` has its place

odd stays as it is: it names no address

/home/a/config.toml

+[servers.team-wiki]
+url = \"https://wiki.example/mcp\"

/home/a/claude.json

-old
+new"
        );
        assert!(
            text(&planned(Vec::new())).ends_with("/home/a/claude.json has no entries to import.")
        );
    }
}
