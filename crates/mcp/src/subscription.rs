//! Messages of `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions).
//!
//! Owns: filters, acknowledgements, and the subscription id in every message of a subscription.
//! Does not own: which subscriptions there are.

use crate::meta::META_SUBSCRIPTION;
use crate::splice::{Object, quoted, with};
use crate::{Message, RequestId, json};

/// The method of the request that opens a subscription.
pub const LISTEN: &str = "subscriptions/listen";

/// The method of the first message of a subscription.
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// The notification about one resource.
const UPDATED: &str = "notifications/resources/updated";

/// A list whose changes a subscription can cover.
#[derive(Debug, PartialEq, Eq)]
struct List {
    /// The member of the server's capabilities whose `listChanged` promises the notification.
    capability: &'static str,
    /// The member of the filter.
    filter: &'static str,
    notification: &'static str,
}

const LISTS: [List; 3] = [
    List {
        capability: "tools",
        filter: "toolsListChanged",
        notification: "notifications/tools/list_changed",
    },
    List {
        capability: "prompts",
        filter: "promptsListChanged",
        notification: "notifications/prompts/list_changed",
    },
    List {
        capability: "resources",
        filter: "resourcesListChanged",
        notification: "notifications/resources/list_changed",
    },
];

/// The notifications that a subscription covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    lists: Vec<&'static List>,
    /// The resources whose updates are covered.
    pub uris: Vec<String>,
}

impl Filter {
    /// Returns what a server with these `capabilities`, a JSON object, can grant of the filter in
    /// the `subscriptions/listen` request.
    #[must_use]
    pub fn grantable(request: &Message, capabilities: &str) -> Self {
        let capabilities = Object::parse(capabilities);
        let can = |part: &str, what: &str| capabilities.object(part).get(what) == Some("true");
        let asked = Self::from_params(request);
        Self {
            lists: (asked.lists.into_iter())
                .filter(|list| can(list.capability, "listChanged"))
                .collect(),
            uris: match can("resources", "subscribe") {
                true => asked.uris,
                false => Vec::new(),
            },
        }
    }

    /// Returns what a server has granted, or `None` if `message` is no acknowledgement.
    #[must_use]
    pub fn acknowledged(message: &Message) -> Option<Self> {
        (message.method() == Some(ACKNOWLEDGED)).then(|| Self::from_params(message))
    }

    /// Reads `params.notifications`. A member that is absent or odd covers nothing.
    fn from_params(message: &Message) -> Self {
        let params = Object::from_raw(message.params());
        let filter = params.object("notifications");
        let uris = filter.get("resourceSubscriptions");
        Self {
            lists: LISTS
                .iter()
                .filter(|list| filter.get(list.filter) == Some("true"))
                .collect(),
            uris: uris
                .and_then(|uris| json::read(uris).ok())
                .unwrap_or_default(),
        }
    }

    /// Returns true if the subscription covers this notification.
    #[must_use]
    pub fn covers(&self, notification: &Message) -> bool {
        if notification.method() == Some(UPDATED) {
            let uri = Object::from_raw(notification.params()).string("uri");
            // It may be a sub-resource of the subscribed one (2025-11-25, server/resources).
            return uri.is_some_and(|uri| self.uris.iter().any(|own| uri.starts_with(own)));
        }
        let mut lists = self.lists.iter();
        lists.any(|list| notification.method() == Some(list.notification))
    }

    /// Returns true if this filter covers something that `other` does not.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        let is_new_list = self.lists.iter().any(|list| !other.lists.contains(list));
        is_new_list || self.uris.iter().any(|uri| !other.uris.contains(uri))
    }

    /// Builds the first message of the subscription that the request `id` opens.
    #[must_use]
    pub fn acknowledgement(&self, id: &RequestId) -> Message {
        let mut granted = Object::default();
        for list in &self.lists {
            granted.put(list.filter, "true");
        }
        if !self.uris.is_empty() {
            let uris: Vec<_> = self.uris.iter().map(|uri| quoted(uri)).collect();
            granted.put("resourceSubscriptions", format!("[{}]", uris.join(",")));
        }
        let mut params = Object::default();
        params.put("_meta", meta(id, &Object::default()));
        params.put("notifications", granted.text());
        Message::raw_notification(ACKNOWLEDGED, &params.text())
    }

    /// Builds one `list_changed` notification for each list that the subscription `id` covers.
    #[must_use]
    pub fn list_changes(&self, id: &RequestId) -> Vec<Message> {
        let lists = self.lists.iter();
        let changes = lists.map(|list| Message::raw_notification(list.notification, "{}"));
        changes.map(|change| tagged(&change, id)).collect()
    }
}

/// Adds the id of a subscription to a notification.
#[must_use]
pub fn tagged(notification: &Message, id: &RequestId) -> Message {
    let mut params = Object::from_raw(notification.params());
    let meta = meta(id, &params);
    params.put("_meta", meta);
    with(notification, None, &params.text())
}

/// Returns the id of the subscription that a notification carries, or `None` if it carries none.
#[must_use]
pub fn id_of(notification: &Message) -> Option<RequestId> {
    notification.method()?;
    if !json::contains(notification.bytes(), META_SUBSCRIPTION.as_bytes()) {
        return None;
    }
    let params = Object::from_raw(notification.params());
    RequestId::from_json(params.object("_meta").get(META_SUBSCRIPTION)?)
}

/// Builds the response that ends the subscription `id` gracefully.
#[must_use]
pub fn ended(id: &RequestId) -> Message {
    let meta = meta(id, &Object::default());
    let result = format!(r#"{{"resultType":"complete","_meta":{meta}}}"#);
    Message::raw_response(id, &result)
}

/// Returns the `_meta` of `params` with the id of the subscription.
fn meta(id: &RequestId, params: &Object<'_>) -> String {
    let mut meta = params.object("_meta");
    meta.put(META_SUBSCRIPTION, id.as_json());
    meta.text()
}

#[cfg(test)]
mod tests {
    use super::{Filter, ended};
    use crate::RequestId;
    use crate::mrtr::tests::message;

    fn asked(filter: &str, capabilities: &str) -> Filter {
        let text =
            format!(r#""method":"subscriptions/listen","params":{{"notifications":{filter}}}"#);
        Filter::grantable(&message(&text), capabilities)
    }

    #[test]
    fn filter_is_granted_as_far_as_capabilities_allow() {
        let all = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":false,"resourceSubscriptions":["a"]}"#;
        let granted = asked(all, r#"{"tools":{"listChanged":true},"prompts":{}}"#);
        let acknowledgement = granted.acknowledgement(&RequestId::string("l"));
        assert_eq!(
            acknowledgement.params().unwrap().get(),
            r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"},"notifications":{"toolsListChanged":true}}"#
        );
        assert_eq!(Filter::acknowledged(&acknowledgement), Some(granted));
        let more = r#"{"resources":{"subscribe":true}}"#;
        assert_eq!(asked(all, more).uris, ["a"]);
        assert_eq!(asked(r#"{"toolsListChanged":1}"#, "[]"), Filter::default());
    }

    #[test]
    fn filter_exceeds_one_that_lacks_list_or_uri() {
        let capabilities = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true}}"#;
        let tools = asked(r#"{"toolsListChanged":true}"#, capabilities);
        let uris = asked(
            r#"{"toolsListChanged":true,"resourceSubscriptions":["a"]}"#,
            capabilities,
        );
        assert!(uris.exceeds(&tools) && !tools.exceeds(&uris) && !tools.exceeds(&tools));
        let changes = uris.list_changes(&RequestId::number(7));
        assert_eq!(changes.len(), 1);
        assert!(tools.covers(&changes[0]) && !Filter::default().covers(&changes[0]));
    }

    #[test]
    fn graceful_end_names_subscription() {
        let end = ended(&RequestId::number(7));
        assert_eq!(
            end.result().unwrap().get(),
            r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":7}}"#
        );
    }
}
