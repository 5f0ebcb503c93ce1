//! Programs that sign in as themselves (RFC 6749 section 4.4): no person, no browser, no refresh
//! token.
//!
//! Owns: the tokens, in memory, for whoever can prove itself can have another one; when they are
//! renewed; what a refusal means.
//! Does not own: the proof, which stays where the configuration says and is looked up each time.

mod plan;
mod proof;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::EndpointUrl;
use model::config::ClientCredentials;

use self::plan::Plan;
pub(crate) use self::plan::find_out;
use self::state::{Failure, Look, State};
use crate::account::Account;
use crate::error::AuthorizationError;
use crate::http::Side;
use crate::identity::{Authorization, Target};
use crate::token::source::Source;

/// The programs that this one is to servers.
#[derive(Default)]
pub(crate) struct Machines(Mutex<HashMap<String, Arc<Machine>>>);

/// What it means where `target` takes no token that its program is given.
pub(crate) fn keeps_refusing(target: &Target) -> AuthorizationError {
    Failure::keeps_refusing().about(target)
}

#[derive(Default)]
struct Machine {
    state: Mutex<State>,
    /// Held by whoever asks for a token.
    flight: tokio::sync::Mutex<Option<Plan>>,
}

impl Machines {
    /// What to send to `target` now. A token is asked for five minutes before the end of the last
    /// one, by one caller however many there are.
    pub(crate) async fn authorization(
        &self,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Authorization, AuthorizationError> {
        let machine = self.of(target);
        let given = machine.authorization(source, target, config).await;
        given.map_err(|failure| failure.about(target))
    }

    /// Takes note that `target` refused a token, unless there is a newer one.
    pub(crate) fn refused(&self, target: &Target, serial: u64, now: u64) {
        self.of(target).state().refused(serial, now);
    }

    /// Who the program is there, once it was given a token.
    pub(crate) fn account(&self, target: &Target) -> Option<Account> {
        self.of(target).state().account()
    }

    /// Where its consents are listed, and who names that, once it was given a token.
    pub(crate) async fn consents_endpoint(&self, target: &Target) -> Option<(EndpointUrl, Side)> {
        let machine = self.of(target);
        let plan = machine.flight.lock().await;
        plan.as_ref().and_then(Plan::consents_endpoint)
    }

    fn of(&self, target: &Target) -> Arc<Machine> {
        let mut machines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(machines.entry(target.name()).or_default())
    }
}

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorization(
        &self,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Authorization, Failure> {
        match self.look(source) {
            Look::Fresh(authorization) => return Ok(authorization),
            Look::Failed(failure) => return Err(failure),
            Look::Due => {}
        }
        let mut plan = self.flight.lock().await;
        // Somebody else may have asked meanwhile.
        match self.look(source) {
            Look::Fresh(authorization) => return Ok(authorization),
            Look::Failed(failure) => return Err(failure),
            Look::Due => {}
        }
        let asked = self.ask(&mut plan, source, target, config).await;
        if asked.is_err() {
            // What was found out may be what is wrong.
            *plan = None;
        }
        let now = source.clock.unix();
        let mut state = self.state();
        match asked {
            Ok((tokens, account)) => Ok(state.accept(tokens, account)),
            Err(failure) => state.suffer(failure, now),
        }
    }

    fn look(&self, source: &Source) -> Look {
        self.state().look(source.clock.unix())
    }

    async fn ask(
        &self,
        plan: &mut Option<Plan>,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<(crate::token::Tokens, Account), Failure> {
        let plan = match plan {
            Some(plan) => plan,
            None => plan.insert(Plan::make(source, target, config).await?),
        };
        let tokens = plan.ask(source, config).await?;
        Ok((tokens, plan.account(config)))
    }
}
