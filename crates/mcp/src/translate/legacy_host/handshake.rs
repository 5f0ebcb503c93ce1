//! `initialize`, translated to `server/discover`.

use super::super::{Action, UNNAMED};
use super::{LegacyHost, RequestMeta};
use crate::error::UpstreamError;
use crate::meta::META_SERVER_INFO;
use crate::splice::{Object, quoted};
use crate::{LATEST_LEGACY, Message, RequestId, SUPPORTED_LEGACY, era};

/// A pending `initialize` request.
#[derive(Debug)]
pub(super) struct Handshake {
    id: RequestId,
    initialize: Message,
    /// The server's response to `initialize`, which showed that it is modern.
    refusal: Option<Message>,
}

impl Handshake {
    pub(super) fn is(&self, id: &RequestId) -> bool {
        self.id == *id
    }

    /// Responds to the host when the server does not know `server/discover` either. The server's
    /// response to `initialize` stands. If the server did not get `initialize`, it gets it now.
    fn refute_era(self) -> Vec<Action> {
        let stands = self.refusal.and_then(|said| match said.result() {
            Some(_) => Some(said),
            None => said.error_for(&self.id),
        });
        let next = stands.map_or(Action::ToServer(self.initialize), Action::answer);
        vec![Action::EraRefuted, next]
    }
}

impl LegacyHost {
    /// Begins a handshake with a server that is known to be modern, or that has refused
    /// `initialize`.
    pub(crate) fn begin(&mut self, initialize: Message, refusal: Option<Message>) -> Vec<Action> {
        let mut actions = self.reset();
        let Some(id) = initialize.id().cloned() else {
            return actions;
        };
        let params = Object::from_raw(initialize.params());
        self.meta = RequestMeta {
            version: params.string("protocolVersion").unwrap_or_default(),
            info: params.get("clientInfo").map(str::to_owned),
            capabilities: params.get("capabilities").unwrap_or("{}").to_owned(),
            log_level: None,
        };
        let mut discover = Object::default();
        discover.put("_meta", self.meta(&params));
        let discover = Message::raw_request(&id, "server/discover", Some(&discover.text()));
        self.handshake = Some(Handshake {
            id,
            initialize,
            refusal,
        });
        actions.push(Action::ToServer(discover));
        actions
    }

    pub(super) fn on_discovered(&mut self, answer: &Message) -> Vec<Action> {
        let Some(handshake) = self.handshake.take_if(|first| answer.answers(&first.id)) else {
            return Vec::new();
        };
        let discovered = answer.result().filter(|_| era::is_discovery(answer));
        let Some(result) = discovered else {
            if era::is_modern_error(answer) {
                return vec![Action::answer(answer.clone())];
            }
            return handshake.refute_era();
        };
        let discovered = Object::parse(result.get());
        self.subscriptions.offer(&discovered.object("capabilities"));
        let result = self.initialize_result(&discovered);
        let answer = Message::raw_response(&handshake.id, &result);
        let mut actions = vec![Action::answer(answer)];
        if self.subscriptions.is_wanted() {
            actions.extend(self.listen());
        }
        actions
    }

    fn initialize_result(&self, discovered: &Object<'_>) -> String {
        let asked = self.meta.version.as_str();
        let is_ours = SUPPORTED_LEGACY.contains(&asked);
        let version = if is_ours { asked } else { LATEST_LEGACY };
        let meta = discovered.object("_meta");
        let mut result = Object::default();
        result.put("protocolVersion", quoted(version));
        let capabilities = discovered.get("capabilities").unwrap_or("{}");
        result.put("capabilities", capabilities);
        result.put("serverInfo", meta.get(META_SERVER_INFO).unwrap_or(UNNAMED));
        if let Some(instructions) = discovered.get("instructions") {
            result.put("instructions", instructions);
        }
        result.text()
    }

    pub(super) fn on_undiscovered(&mut self, failure: UpstreamError) -> Vec<Action> {
        let Some(handshake) = self.handshake.take() else {
            return Vec::new();
        };
        if failure.is_of_other_era() {
            return handshake.refute_era();
        }
        let request = Some(handshake.id);
        vec![Action::Fail { request, failure }]
    }

    /// Abandons the handshake.
    pub(super) fn end_handshake(&mut self) -> Vec<Action> {
        let Some(Handshake { id, .. }) = self.handshake.take() else {
            return Vec::new();
        };
        let gone = Action::Fail {
            request: Some(id.clone()),
            failure: UpstreamError::StreamEnded,
        };
        vec![Action::Abandon(id), gone]
    }
}
