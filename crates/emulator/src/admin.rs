//! The admin API of a running emulator: its state, and the commands that change it.
//!
//! Owns: [`Command`] and [`State`], and three ways to use them: [`Admin`] for tests in the same
//! process, `/admin/state` and `/admin/commands` for other programs, `/admin` for users.
//! Does not own: the effect of a rule (see [`crate::fault_injection`]).

mod access;
mod api;
mod command;
mod form;
mod state;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use uuid::Uuid;

use crate::aadsts::{Aadsts, TABLE};
use crate::endpoint::Endpoint;
use crate::entra::Entra;
use crate::fault_injection::{Disruption, DisruptionRule, InjectedError, Rule, RuleTarget};
use crate::keys::ChangeError;
pub use command::Command;
pub use state::{AppState, KeyState, RequestState, RuleEffect, RuleState, State, UserState};

/// A handle to the state and the commands of a running emulator. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Entra>);

/// Why a command failed. The emulator is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The table has no such AADSTS number.
    #[error("AADSTS{0} is not in the table; hint: use one of: {list}", list = numbers())]
    UnknownNumber(u32),
    /// The endpoint never returns this error.
    #[error("the {endpoint} endpoint never returns AADSTS{number}; hint: leave the endpoint out")]
    WrongEndpoint {
        /// The AADSTS number.
        number: u32,
        /// The name of the endpoint in commands.
        endpoint: &'static str,
    },
    /// No user has this name or object id.
    #[error("there is no user {0:?}; hint: use one of the users in the state")]
    UnknownUser(String),
    /// No app has this name or client id.
    #[error("there is no app {0:?}; hint: use one of the apps in the state")]
    UnknownApp(String),
    /// No rule has this number.
    #[error("there is no rule {0}; hint: use one of the rules in the state")]
    UnknownRule(u32),
    /// The signing keys do not allow the change.
    #[error("{0}")]
    Keys(String),
    /// New keys could not be generated or stored.
    #[error("the keys were not changed: {0:#}")]
    Failed(#[source] anyhow::Error),
}

pub(crate) fn routes() -> Router<Arc<Entra>> {
    Router::new()
        .route("/admin", get(view::page).post(view::post))
        .route("/admin/state", get(api::state))
        .route("/admin/errors", get(api::errors))
        .route("/admin/commands", post(api::command))
        .layer(axum::middleware::from_fn(access::require_same_site))
}

impl Admin {
    pub(crate) fn new(entra: Arc<Entra>) -> Self {
        Self(entra)
    }

    /// Returns the active rules, the keys and the latest requests.
    #[must_use]
    pub fn state(&self) -> State {
        State::from_entra(&self.0)
    }

    /// Executes a command.
    ///
    /// # Errors
    /// If the command names an unknown object, or keys cannot be generated. Nothing changes then.
    pub async fn apply(&self, command: Command) -> Result<State, CommandError> {
        let this = self.clone();
        // Generating RSA keys blocks.
        tokio::task::spawn_blocking(move || {
            this.change(command)?;
            Ok(this.state())
        })
        .await
        .map_err(|error| CommandError::Failed(error.into()))?
    }

    fn change(&self, command: Command) -> Result<(), CommandError> {
        tracing::info!(?command, "executing an admin command");
        let Entra {
            fault_rules,
            keys,
            ahead,
            clock,
            ..
        } = &*self.0;
        match command {
            Command::Fail {
                number,
                endpoint,
                user,
                app,
                times,
            } => fault_rules.add(Rule::Fail(InjectedError {
                row: row(number, endpoint)?,
                endpoint,
                target: self.target(user, app)?,
                times,
            })),
            Command::Require {
                requirement,
                user,
                app,
            } => fault_rules.add(Rule::Require {
                target: self.target(user, app)?,
                requirement,
            }),
            Command::Throttle {
                endpoint,
                times,
                retry_after,
            } => fault_rules.add(Rule::Disrupt(DisruptionRule {
                disruption: Disruption::Throttled(retry_after),
                endpoint,
                times,
            })),
            Command::Outage { endpoint, times } => fault_rules.add(Rule::Disrupt(DisruptionRule {
                disruption: Disruption::Outage,
                endpoint,
                times,
            })),
            Command::Remove { rule } => {
                if !fault_rules.remove(rule) {
                    return Err(CommandError::UnknownRule(rule));
                }
            }
            Command::Clear => fault_rules.clear(),
            Command::RevokeSessions { user } => {
                fault_rules.revoke_sessions(self.user(&user)?, clock.unix());
            }
            Command::ChallengeTokens { user } => {
                fault_rules.challenge_tokens(self.user(&user)?, clock.unix());
            }
            Command::RefreshReuse { reuse } => fault_rules.set_reuse(reuse),
            Command::AddKey => keys.add()?,
            Command::UseKey { kid } => keys.activate(&kid)?,
            Command::DropKey { kid } => keys.drop_key(&kid)?,
            Command::ReplaceKeys => keys.replace()?,
            Command::Advance { seconds } => ahead.advance(Duration::from_secs(seconds)),
        }
        Ok(())
    }

    fn target(
        &self,
        user: Option<String>,
        app: Option<String>,
    ) -> Result<RuleTarget, CommandError> {
        Ok(RuleTarget {
            user: user.map(|user| self.user(&user)).transpose()?,
            app: app.map(|app| self.app(&app)).transpose()?,
        })
    }

    fn user(&self, named: &str) -> Result<Uuid, CommandError> {
        let cloud = &self.0.cloud;
        let by_id = || named.parse().ok().and_then(|id| cloud.member(id));
        let member = cloud.member_named(named).or_else(by_id);
        member
            .map(|member| member.user.object_id)
            .ok_or_else(|| CommandError::UnknownUser(named.to_owned()))
    }

    fn app(&self, named: &str) -> Result<Uuid, CommandError> {
        let id: Option<Uuid> = named.parse().ok();
        let mut apps = self.0.cloud.registrations().map(|one| one.app);
        apps.find(|app| app.name == named || Some(app.client_id) == id)
            .map(|app| app.client_id)
            .ok_or_else(|| CommandError::UnknownApp(named.to_owned()))
    }
}

impl From<ChangeError> for CommandError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refused) => Self::Keys(refused.to_string()),
            ChangeError::Failed(failed) => Self::Failed(failed),
        }
    }
}

fn row(number: u32, endpoint: Option<Endpoint>) -> Result<&'static Aadsts, CommandError> {
    let row = Aadsts::numbered(number).ok_or(CommandError::UnknownNumber(number))?;
    match endpoint {
        Some(endpoint) if !row.occurs(endpoint.kind()) => Err(CommandError::WrongEndpoint {
            number,
            endpoint: endpoint.name(),
        }),
        Some(_) | None => Ok(row),
    }
}

fn numbers() -> String {
    let numbers: Vec<String> = TABLE.iter().map(|row| row.number.to_string()).collect();
    numbers.join(", ")
}
