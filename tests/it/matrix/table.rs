//! `docs/translation.md`, generated from the results.

use std::{fs, path::Path};

use super::{
    CellResult, FEATURES, HOSTS, LEGACY, MODERN, OLDEST, SERVERS, Server,
    features::{Reason, Verdict},
    host::Revision,
};
use crate::harness::program;

const FILE: &str = "docs/translation.md";

const HEAD: &str = "\
# Features by host and server revision

Hosts and servers of different revisions are incompatible. The bridge translates between them.
Each cell below is a result of `tests/it/matrix.rs`, with a host and a server of one revision each
and the real bridge in between. The case compares this file with its results.

An HTTP+SSE server uses the version of its client, up to 2025-11-25.
";

/// Compares the document with the results, or updates it.
pub(super) fn compare(seen: &[CellResult]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    let document = document(seen);
    if program::updates_documents() {
        fs::write(&path, &document).expect("the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "{FILE} does not match the results; hint: run POSTERN_TESTS_RENEW=1 cargo test -p tests matrix\n\
         {document}"
    );
}

fn document(seen: &[CellResult]) -> String {
    let mut text = HEAD.to_owned();
    let mut reasons = Vec::new();
    for host in HOSTS {
        text += &format!("\n## {}\n\n", host_title(host));
        let titles = SERVERS.map(|(server, _)| server_title(server));
        text += &format!("| | {} |\n", titles.join(" | "));
        text += &format!("| --- |{}\n", " --- |".repeat(titles.len()));
        for feature in FEATURES {
            let cells = SERVERS.map(|(server, _)| {
                let verdict = verdict(seen, host, server, feature.title());
                if let Verdict::Impossible(reason) | Verdict::Within(reason) = verdict
                    && !reasons.contains(&reason)
                {
                    reasons.push(reason);
                }
                shown(verdict)
            });
            text += &format!("| {} | {} |\n", feature.title(), cells.join(" | "));
        }
    }
    let notes = reasons.into_iter().map(note);
    text + "\n" + &notes.collect::<String>()
}

fn verdict(seen: &[CellResult], host: Revision, server: Server, feature: &str) -> Verdict {
    let cell = seen
        .iter()
        .find(|one| one.host == host && one.server == server);
    let mut verdicts = cell.expect("the cell").verdicts.iter();
    let found = verdicts.find(|(one, _)| one.title() == feature);
    let (_, verdict) = found.expect("all features");
    *verdict.as_ref().expect("no failure")
}

fn shown(verdict: Verdict) -> String {
    match verdict {
        Verdict::Works => "yes".to_owned(),
        Verdict::Within(reason) => format!("yes[^{}]", reason.name()),
        Verdict::Impossible(reason) => format!("no[^{}]", reason.name()),
    }
}

fn note(reason: Reason) -> String {
    format!("[^{}]: {}\n", reason.name(), reason.text())
}

fn host_title(host: Revision) -> String {
    match host {
        Revision::Oldest => format!("A host of {OLDEST}, over HTTP+SSE"),
        Revision::Legacy => format!("A host of {LEGACY}, over Streamable HTTP"),
        Revision::Modern => format!("A host of {MODERN}, over Streamable HTTP"),
    }
}

fn server_title(server: Server) -> String {
    match server {
        Server::Sse => "HTTP+SSE server".to_owned(),
        Server::Legacy => format!("{LEGACY} server"),
        Server::Modern => format!("{MODERN} server"),
    }
}
