//! The session with the server: the handshake with the `_meta` of the host's first request, and the
//! response to `server/discover`.

use super::super::{Action, LOG_LEVELS, UNNAMED};
use super::{ModernHost, Outcome, Waiting};
use crate::era::is_modern_error;
use crate::error::UpstreamError;
use crate::message::METHOD_NOT_FOUND;
use crate::meta::META_SERVER_INFO;
use crate::splice::{Object, quoted};
use crate::{LATEST_LEGACY, Message, RequestId, SUPPORTED_MODERN};

#[derive(Debug, Default)]
pub(super) enum Session {
    #[default]
    None,
    /// The handshake is pending.
    Opening {
        /// The id of `initialize`.
        id: RequestId,
        waiting: Vec<Waiting>,
    },
    Ready(Ready),
}

/// The server's `initialize` result, as it wrote it, and the session's state.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) capabilities: String,
    info: Option<String>,
    instructions: Option<String>,
    /// The log level that was set, if any.
    level: Option<usize>,
    /// The pending `logging/setLevel` request, and the requests that follow it.
    setting_level: Option<(RequestId, Vec<Waiting>)>,
    /// True if the listening stream is open.
    pub(super) listens: bool,
}

impl Session {
    pub(super) fn is_opened_by(&self, at_server: &RequestId) -> bool {
        matches!(self, Self::Opening { id, .. } if id == at_server)
    }

    pub(super) fn sets_level_by(&self, at_server: &RequestId) -> bool {
        match self {
            Self::Ready(ready) => {
                let setting_level = ready.setting_level.as_ref();
                setting_level.is_some_and(|(id, _)| id == at_server)
            }
            Self::None | Self::Opening { .. } => false,
        }
    }

    /// Returns true if this request of the host waits here.
    pub(super) fn knows(&self, host: &RequestId) -> bool {
        self.waiting().iter().any(|waiting| waiting.id == *host)
    }

    /// Removes a request of the host. Returns true if it waited here.
    pub(super) fn forget(&mut self, host: &RequestId) -> bool {
        let known = self.knows(host);
        if let Some(waiting) = self.waiting_mut() {
            waiting.retain(|waiting| waiting.id != *host);
        }
        known
    }

    fn waiting(&self) -> &[Waiting] {
        match self {
            Self::Opening { waiting, .. } => waiting,
            Self::Ready(Ready {
                setting_level: Some((_, waiting)),
                ..
            }) => waiting,
            Self::Ready(_) | Self::None => &[],
        }
    }

    fn waiting_mut(&mut self) -> Option<&mut Vec<Waiting>> {
        match self {
            Self::Opening { waiting, .. } => Some(waiting),
            Self::Ready(ready) => ready.setting_level.as_mut().map(|(_, waiting)| waiting),
            Self::None => None,
        }
    }
}

impl ModernHost {
    /// Performs a request of the host as soon as there is a session with the log level that it
    /// wants.
    pub(super) fn when_ready(&mut self, waiting: Waiting) -> Vec<Action> {
        match &mut self.session {
            Session::None => self.open(waiting),
            Session::Opening { waiting: all, .. } => {
                all.push(waiting);
                Vec::new()
            }
            Session::Ready(ready) => match waiting.meta.level {
                Some(level) if ready.is_too_quiet(level) => self.set_level(level, waiting),
                Some(_) | None => self.proceed(waiting),
            },
        }
    }

    fn open(&mut self, first: Waiting) -> Vec<Action> {
        let id = self.new_id();
        let mut params = Object::default();
        params.put("protocolVersion", quoted(LATEST_LEGACY));
        params.put("capabilities", first.meta.capabilities.clone());
        let info = first.meta.info.clone();
        params.put("clientInfo", info.unwrap_or_else(|| UNNAMED.to_owned()));
        let initialize = Message::raw_request(&id, "initialize", Some(&params.text()));
        self.session = Session::Opening {
            id,
            waiting: vec![first],
        };
        vec![Action::ToServer(initialize)]
    }

    /// Handles the outcome of the handshake.
    pub(super) fn on_opened(&mut self, outcome: Outcome) -> Vec<Action> {
        let Session::Opening { waiting, .. } = std::mem::take(&mut self.session) else {
            return Vec::new();
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return self.not_opened(waiting, &Err(failure)),
        };
        let Some(result) = answer.result() else {
            return self.not_opened(waiting, &Ok(answer));
        };
        let ready = Ready::from_result(&Object::parse(result.get()));
        let asks = waiting.iter().any(|waiting| {
            let capabilities = Object::parse(&waiting.meta.capabilities);
            ["elicitation", "sampling", "roots"]
                .iter()
                .any(|part| capabilities.get(part).is_some())
        });
        self.session = Session::Ready(ready);
        let initialized = Message::notification("notifications/initialized", None);
        let mut actions = vec![Action::EraConfirmed, Action::ToServer(initialized)];
        if asks {
            // Many servers send requests on the listening stream.
            actions.extend(self.listen_once());
        }
        for waiting in waiting {
            actions.extend(self.when_ready(waiting));
        }
        actions
    }

    /// Handles a failed or refused handshake.
    fn not_opened(&self, waiting: Vec<Waiting>, outcome: &Outcome) -> Vec<Action> {
        let is_other_era = match outcome {
            Ok(answer) => is_modern_error(answer) || answer.error_code() == Some(METHOD_NOT_FOUND),
            Err(failure) => failure.is_of_other_era() || failure.is_modern_refusal(),
        };
        let mut actions = Vec::new();
        let is_other_era = is_other_era && !self.is_legacy_only;
        if is_other_era {
            actions.push(Action::EraRefuted);
        }
        for waiting in waiting {
            actions.push(match (waiting.refusal, is_other_era) {
                // The response to the host's own request stands.
                (Some(refusal), true) => outcome_action(&waiting.id, refusal),
                // The server did not get the host's own request, and gets it now.
                (None, true) => Action::ToServer(waiting.request),
                (_, false) => outcome_action(&waiting.id, outcome.clone()),
            });
        }
        actions
    }

    /// Opens the listening stream, unless it is open.
    pub(super) fn listen_once(&mut self) -> Option<Action> {
        let Session::Ready(ready) = &mut self.session else {
            return None;
        };
        let did = std::mem::replace(&mut ready.listens, true);
        (!did).then_some(Action::Listen)
    }

    /// Reopens the listening stream with a new token, if it is open.
    pub(crate) fn listen(&mut self) -> Vec<Action> {
        let listens = self.ready().is_some_and(|ready| ready.listens);
        listens.then_some(Action::Listen).into_iter().collect()
    }

    fn set_level(&mut self, level: usize, waiting: Waiting) -> Vec<Action> {
        let id = self.new_id();
        let Session::Ready(ready) = &mut self.session else {
            return Vec::new();
        };
        if let Some((_, all)) = &mut ready.setting_level {
            all.push(waiting);
            return Vec::new();
        }
        ready.level = Some(level);
        let params = format!(r#"{{"level":{}}}"#, quoted(LOG_LEVELS[level]));
        let set = Message::raw_request(&id, "logging/setLevel", Some(&params));
        ready.setting_level = Some((id, vec![waiting]));
        vec![Action::ToServer(set)]
    }

    /// Handles the outcome of `logging/setLevel`. An error is ignored.
    pub(super) fn on_level_set(&mut self) -> Vec<Action> {
        let Session::Ready(ready) = &mut self.session else {
            return Vec::new();
        };
        let waiting = ready.setting_level.take().map(|(_, waiting)| waiting);
        let mut actions = Vec::new();
        for waiting in waiting.into_iter().flatten() {
            actions.extend(self.when_ready(waiting));
        }
        actions
    }

    /// Ends the session, and fails all requests that wait for it.
    pub(crate) fn lose_session(&mut self, gone: &UpstreamError) -> Vec<Action> {
        let mut lost: Vec<_> = self.subscriptions.end();
        if let Some(waiting) = self.session.waiting_mut() {
            lost.extend(waiting.drain(..).map(|waiting| waiting.id));
        }
        self.session = Session::None;
        let fail = |id| Action::Fail {
            request: Some(id),
            failure: gone.clone(),
        };
        lost.into_iter().map(fail).collect()
    }

    /// Responds to `server/discover` with the `initialize` result.
    pub(super) fn discovered(&self, id: &RequestId) -> Action {
        let Some(ready) = self.ready() else {
            return Action::refusal(id, METHOD_NOT_FOUND, "there is no session");
        };
        let mut result = Object::default();
        result.put("resultType", r#""complete""#);
        result.put(
            "supportedVersions",
            serde_json::Value::from(SUPPORTED_MODERN).to_string(),
        );
        result.put("capabilities", ready.capabilities.as_str());
        if let Some(instructions) = &ready.instructions {
            result.put("instructions", instructions.as_str());
        }
        result.put("ttlMs", "0");
        result.put("cacheScope", r#""private""#);
        self.add_server_info(&mut result);
        Action::answer(Message::raw_response(id, &result.text()))
    }

    /// Adds the server info to a result.
    pub(super) fn add_server_info(&self, result: &mut Object<'_>) {
        let Some(info) = self.ready().and_then(|ready| ready.info.as_deref()) else {
            return;
        };
        let mut meta = result.object("_meta");
        if meta.get(META_SERVER_INFO).is_none() {
            meta.put(META_SERVER_INFO, info);
            let meta = meta.text();
            result.put("_meta", meta);
        }
    }
}

impl Ready {
    fn from_result(result: &Object<'_>) -> Self {
        let owned = |name: &str| result.get(name).map(str::to_owned);
        Self {
            capabilities: owned("capabilities").unwrap_or_else(|| "{}".to_owned()),
            info: owned("serverInfo"),
            instructions: owned("instructions"),
            level: None,
            setting_level: None,
            listens: false,
        }
    }

    /// Returns true if the server has a log and sends less of it than this level.
    fn is_too_quiet(&self, level: usize) -> bool {
        let has_log = Object::parse(&self.capabilities).get("logging").is_some();
        let is_set = self.setting_level.is_none() && self.level.is_some_and(|set| set <= level);
        has_log && !is_set
    }
}

/// Returns the action that reports the outcome of a request to the host.
pub(super) fn outcome_action(host: &RequestId, outcome: Outcome) -> Action {
    let failed = |failure| Action::Fail {
        request: Some(host.clone()),
        failure,
    };
    match outcome {
        Ok(answer) if answer.answers(host) => Action::answer(answer),
        Ok(answer) => match answer.error_for(host) {
            Some(error) => Action::answer(error),
            None => failed(UpstreamError::StreamEnded),
        },
        Err(failure) => failed(failure),
    }
}
