//! Diagnoses problems and suggests fixes.
//!
//! Invariant: diagnosing changes nothing and starts no sign-in.

use std::path::Path;
use std::sync::Arc;

use auth::{CheckKind, Finding, Verdict};
use control::api::{DoctorCheck, DoctorOutcome, Problem, ProblemKind};

use futures_util::future::join_all;

use crate::bridge::Bridge;
use crate::hosts::{self, Host, Listed};
use crate::probe;
use crate::registry::Server;

/// Runs every check. Returns the results so that causes come before their effects.
pub(crate) async fn diagnose(bridge: &Arc<Bridge>) -> Vec<DoctorCheck> {
    let mut checks = vec![configuration(bridge), http(bridge), vault(bridge).await];
    let servers = bridge.config.registry().all();
    if servers.is_empty() {
        let hint = "add one with `postern servers add NAME URL`";
        checks.push(check(
            "servers",
            DoctorOutcome::Warning,
            "none is configured",
            Some(hint),
        ));
    }
    let tests = servers.iter().map(|server| one_server(bridge, server));
    checks.extend(join_all(tests).await.into_iter().flatten());
    checks.extend(host_files(bridge));
    checks
}

fn configuration(bridge: &Bridge) -> DoctorCheck {
    let path = bridge.config.path().display().to_string();
    match bridge.config.problem() {
        None => check("configuration", DoctorOutcome::Ok, &path, None),
        Some(problem) => broken("configuration", &problem),
    }
}

fn http(bridge: &Bridge) -> DoctorCheck {
    match bridge.addresses.http() {
        Ok(base) => match bridge.addresses.port_problem(bridge.config.settings().port) {
            None => check("HTTP endpoint", DoctorOutcome::Ok, &base, None),
            Some(Problem { message, hint, .. }) => check(
                "HTTP endpoint",
                DoctorOutcome::Warning,
                &message,
                hint.as_deref(),
            ),
        },
        Err(problem) => broken("HTTP endpoint", &problem),
    }
}

async fn vault(bridge: &Bridge) -> DoctorCheck {
    // Listing the accounts opens the vault if it holds any.
    let accounts = bridge.identity.accounts().await.len();
    bridge.vault.probe().await;
    let state = bridge.vault.read().await;
    let finding = format!("{} {accounts} signed in.", state.detail);
    match state.state {
        control::api::VaultState::Keychain => check("keychain", DoctorOutcome::Ok, &finding, None),
        control::api::VaultState::KeyFile => {
            check("keychain", DoctorOutcome::Warning, &finding, None)
        }
        control::api::VaultState::Behind => check(
            "tokens",
            DoctorOutcome::Failed,
            &state.detail,
            state.hint.as_deref(),
        ),
        control::api::VaultState::Locked | control::api::VaultState::Absent => check(
            "keychain",
            DoctorOutcome::Failed,
            &state.detail,
            state.hint.as_deref(),
        ),
    }
}

/// Tests a server, then checks the prerequisites of a sign-in to it.
async fn one_server(bridge: &Arc<Bridge>, server: &Arc<Server>) -> Vec<DoctorCheck> {
    let subject = format!("server {}", server.name);
    let (target, challenge) = (server.target(), server.challenge());
    let (connection, findings) = tokio::join!(
        connection(bridge, server, subject.clone()),
        bridge.identity.diagnose(&target, challenge.as_deref()),
    );
    let sign_in_checks = findings
        .iter()
        .map(|finding| from_finding(&subject, finding));
    std::iter::once(connection).chain(sign_in_checks).collect()
}

fn from_finding(server: &str, finding: &Finding) -> DoctorCheck {
    let aspect = match finding.kind {
        CheckKind::Discovery => "discovery",
        CheckKind::Registration => "registration",
        CheckKind::Redirect => "redirect",
        CheckKind::Access => "access",
        CheckKind::Clock => "clock",
        CheckKind::Reach => "reach",
        CheckKind::Proxy => "proxy",
        CheckKind::Certificate => "certificate",
    };
    let outcome = match finding.verdict {
        Verdict::Ok => DoctorOutcome::Ok,
        Verdict::Warning => DoctorOutcome::Warning,
        Verdict::Failed => DoctorOutcome::Failed,
    };
    check(
        &format!("{server}, {aspect}"),
        outcome,
        &finding.what,
        finding.todo.as_deref(),
    )
}

async fn connection(bridge: &Arc<Bridge>, server: &Arc<Server>, subject: String) -> DoctorCheck {
    match probe::test(&bridge.session, server).await {
        Ok(report) => {
            let headers = match server.header_names().join(", ") {
                none if none.is_empty() => none,
                names => format!(" and gets {names}"),
            };
            let finding = format!(
                "{} speaks MCP {}, has {} tools ({} ms){headers}",
                report.server_info,
                report.protocol_version,
                report.tools.len(),
                report.milliseconds
            );
            if server.config.url.is_exposed() {
                let finding = format!("{finding}; others can read and change what is sent to it");
                let hint = "use https where the server offers it";
                return check(&subject, DoctorOutcome::Warning, &finding, Some(hint));
            }
            check(&subject, DoctorOutcome::Ok, &finding, None)
        }
        Err(problem) if problem.kind == ProblemKind::SignInNeeded => DoctorCheck {
            subject,
            outcome: DoctorOutcome::Warning,
            finding: problem.message,
            hint: problem.hint,
        },
        Err(problem) => broken(&subject, &problem),
    }
}

/// Checks the files of hosts for entries whose server does not exist.
fn host_files(bridge: &Bridge) -> Vec<DoctorCheck> {
    let mut checks = Vec::new();
    for &host in Host::ALL {
        let subject = format!("host {}", host.title());
        let path = hosts::file(host, &bridge.options.places);
        if !path.exists() {
            continue;
        }
        match hosts::entries(host, &bridge.options.places) {
            Err(error) => {
                let problem = Problem::from_text(ProblemKind::Invalid, &error.to_string());
                checks.push(broken(&subject, &problem));
            }
            Ok(entries) => {
                let lost = entries.iter().filter(|entry| leads_nowhere(bridge, entry));
                let before = checks.len();
                checks.extend(lost.map(|entry| lost_entry(host, &entry.name)));
                if checks.len() == before {
                    let path = path.display().to_string();
                    checks.push(check(&subject, DoctorOutcome::Ok, &path, None));
                }
            }
        }
    }
    checks
}

/// Returns true if the entry is ours and names a server that this bridge does not have.
fn leads_nowhere(bridge: &Bridge, entry: &Listed) -> bool {
    let (server, home) = match entry.args.as_slice() {
        [_, server] => (server, None),
        [_, server, flag, root] if flag == "--home" => (server, Some(Path::new(root))),
        _ => return false,
    };
    entry.ours
        && home == bridge.options.home.root()
        && !server.contains("://")
        && bridge.config.registry().named(server).is_err()
}

fn lost_entry(host: Host, name: &str) -> DoctorCheck {
    check(
        &format!("host {}", host.title()),
        DoctorOutcome::Warning,
        &format!("its file names `{name}`, which is not configured"),
        Some(&format!(
            "remove it with `postern hosts remove {host} {name}`, or add the server again with `postern servers add {name} URL`"
        )),
    )
}

fn check(subject: &str, outcome: DoctorOutcome, finding: &str, hint: Option<&str>) -> DoctorCheck {
    DoctorCheck {
        subject: subject.to_owned(),
        outcome,
        finding: finding.to_owned(),
        hint: hint.map(str::to_owned),
    }
}

fn broken(subject: &str, problem: &Problem) -> DoctorCheck {
    check(
        subject,
        DoctorOutcome::Failed,
        &problem.message,
        problem.hint.as_deref(),
    )
}
