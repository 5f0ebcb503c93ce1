//! Programs that sign in as themselves (RFC 6749 section 4.4): no person, no browser, no refresh
//! token.
//!
//! Owns: the tokens, in memory, for whoever can prove itself can have another one; when they are
//! renewed; what a refusal means.
//! Does not own: the proof, which stays where the configuration says and is looked up each time.

mod authentication;
mod plan;
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
    flight: Arc<tokio::sync::Mutex<Option<Plan>>>,
}

impl Machines {
    /// What to send now to `server`, which takes the tokens of `target`. A token is asked for five
    /// minutes before the end of the last one, which serves meanwhile, by one caller however many
    /// there are.
    pub(crate) async fn authorization(
        &self,
        source: &Source,
        target: &Target,
        name: &str,
        server: &EndpointUrl,
        config: &ClientCredentials,
    ) -> Result<Authorization, AuthorizationError> {
        let machine = self.named(name);
        match machine.state().look(server, source.clock.unix()) {
            Look::Fresh(authorization) => return Ok(authorization),
            Look::Ageing(authorization) => {
                Arc::clone(&machine).ask_beside(source, target, config);
                return Ok(authorization);
            }
            Look::Failed(failure) => return Err(failure.about(target)),
            Look::Due => {}
        }
        let given = machine.wait_for(source, target, server, config).await;
        given.map_err(|failure| failure.about(target))
    }

    /// Takes note that `server` refused a token of `target`, unless there is a newer one.
    pub(crate) fn refused(&self, target: &Target, server: &EndpointUrl, serial: u64, now: u64) {
        self.of(target).state().refused(server, serial, now);
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
        self.named(&target.name())
    }

    fn named(&self, target: &str) -> Arc<Machine> {
        let mut machines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = machines.get(target) {
            return Arc::clone(known);
        }
        Arc::clone(machines.entry(target.to_owned()).or_default())
    }
}

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(
        &self,
        source: &Source,
        target: &Target,
        server: &EndpointUrl,
        config: &ClientCredentials,
    ) -> Result<Authorization, Failure> {
        let mut plan = self.flight.lock().await;
        // Somebody else may have asked meanwhile.
        match self.state().look(server, source.clock.unix()) {
            Look::Fresh(authorization) | Look::Ageing(authorization) => return Ok(authorization),
            Look::Failed(failure) => return Err(failure),
            Look::Due => {}
        }
        self.ask_for(&mut plan, source, target, config).await
    }

    /// Asks for a token on a task of its own, unless one is being asked for already.
    fn ask_beside(self: Arc<Self>, source: &Source, target: &Target, config: &ClientCredentials) {
        let Ok(mut plan) = Arc::clone(&self.flight).try_lock_owned() else {
            return;
        };
        let (source, target, config) = (source.clone(), target.clone(), config.clone());
        source.renewals.clone().spawn(async move {
            if self.state().is_due(source.clock.unix()) {
                // What it came to is kept for those who ask next.
                let _ = self.ask_for(&mut plan, &source, &target, &config).await;
            }
        });
    }

    async fn ask_for(
        &self,
        plan: &mut Option<Plan>,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Authorization, Failure> {
        let asked = self.ask(plan, source, target, config).await;
        if asked.is_err() {
            // What was found out may be what is wrong.
            *plan = None;
        }
        let now = source.clock.unix();
        let mut state = self.state();
        match asked {
            Ok((tokens, account)) => Ok(state.accept(tokens, account)),
            Err(failure) => {
                state.suffer(&failure, now);
                Err(failure)
            }
        }
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
