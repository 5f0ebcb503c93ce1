//! Looks everything over, and says what to change where.
//!
//! Invariant: looking changes nothing and asks nobody to sign in.

use std::sync::Arc;

use control::api::{DoctorCheck, DoctorOutcome, Problem, ProblemKind};

use futures_util::future::join_all;

use crate::hub::Hub;
use crate::probe;
use crate::registry::Server;

/// Every check, in the order in which things depend on each other.
pub(crate) async fn examine(hub: &Arc<Hub>) -> Vec<DoctorCheck> {
    let mut checks = vec![configuration(hub), http(hub), vault(hub).await];
    let servers = hub.registry.all();
    if servers.is_empty() {
        let hint = "add one with `postern servers add NAME URL`";
        checks.push(check(
            "servers",
            DoctorOutcome::Warning,
            "none is configured",
            Some(hint),
        ));
    }
    let looks = servers.iter().map(|server| one_server(hub, server));
    checks.extend(join_all(looks).await);
    checks
}

fn configuration(hub: &Hub) -> DoctorCheck {
    let path = hub.options.home.config_file().display().to_string();
    match hub.config_problem() {
        None => check("configuration", DoctorOutcome::Fine, &path, None),
        Some(problem) => broken("configuration", &problem),
    }
}

fn http(hub: &Hub) -> DoctorCheck {
    match hub.http() {
        Ok(base) => check("HTTP endpoint", DoctorOutcome::Fine, &base, None),
        Err(problem) => broken("HTTP endpoint", &problem),
    }
}

async fn vault(hub: &Hub) -> DoctorCheck {
    // Listing the accounts opens the vault, as any use would.
    let accounts = hub.identity.accounts().await.len();
    let state = hub.state().await.bridge.vault;
    let finding = format!("{} {accounts} signed in.", state.detail);
    match state.state {
        control::api::VaultState::Keychain => check("vault", DoctorOutcome::Fine, &finding, None),
        control::api::VaultState::KeyFile => check("vault", DoctorOutcome::Warning, &finding, None),
        control::api::VaultState::Locked => check(
            "vault",
            DoctorOutcome::Broken,
            &state.detail,
            Some("unlock the keychain, then try again"),
        ),
        control::api::VaultState::Absent => check(
            "vault",
            DoctorOutcome::Broken,
            &state.detail,
            Some(
                "start a Secret Service such as gnome-keyring, or choose a key file: `POSTERN_VAULT=file postern bridge --replace --detach`",
            ),
        ),
    }
}

async fn one_server(hub: &Arc<Hub>, server: &Arc<Server>) -> DoctorCheck {
    let subject = format!("server {}", server.name);
    match probe::test(hub, server).await {
        Ok(report) => {
            let finding = format!(
                "{} speaks MCP {} and has {} tools ({} ms)",
                report.server_info,
                report.protocol_version,
                report.tools.len(),
                report.milliseconds
            );
            check(&subject, DoctorOutcome::Fine, &finding, None)
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
        DoctorOutcome::Broken,
        &problem.message,
        problem.hint.as_deref(),
    )
}
