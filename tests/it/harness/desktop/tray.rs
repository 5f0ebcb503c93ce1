//! The app's icon in the tray and its menu, read and clicked over the bus as by a panel.

use std::{collections::HashMap, fmt, future::Future};

use futures_util::StreamExt;
use zbus::{
    MatchRule, MessageStream, Proxy,
    zvariant::{OwnedObjectPath, OwnedValue, Value},
};

use super::{
    super::{until, within},
    panel,
    session::{Session, object},
};

const ITEM: &str = "org.kde.StatusNotifierItem";
const MENU: &str = "com.canonical.dbusmenu";

/// An icon with a menu.
pub(crate) struct Tray {
    item: Proxy<'static>,
    menu: Proxy<'static>,
}

impl Tray {
    /// Returns a future that waits for the next icon to register.
    pub(crate) async fn next_icon(session: &Session) -> impl Future<Output = Self> {
        let watcher = panel::watcher(session).await;
        let mut registered = watcher
            .receive_signal("StatusNotifierItemRegistered")
            .await
            .expect("the watcher's signals");
        let bus = session.bus.clone();
        async move {
            let signal = within("an icon in the tray", registered.next()).await;
            let signal = signal.expect("the watcher lives");
            let name: String = signal.body().deserialize().expect("a name");
            let (owner, path) = name.split_once('/').expect("a name and a path");
            let item = object(&bus, owner, format!("/{path}"), ITEM).await;
            let menu: OwnedObjectPath = item.get_property("Menu").await.expect("a menu");
            let menu = object(&bus, owner, menu.to_string(), MENU).await;
            Self { item, menu }
        }
    }

    /// Returns the tooltip.
    pub(crate) async fn tooltip(&self) -> String {
        type Tooltip = (String, Vec<(i32, i32, Vec<u8>)>, String, String);
        let tooltip: OwnedValue = self.item.get_property("ToolTip").await.expect("a tooltip");
        Tooltip::try_from(tooltip).expect("a tooltip").3
    }

    /// Waits until the tooltip contains `words`.
    pub(crate) async fn until_tooltip(&self, words: &str) {
        until(words, async || {
            self.tooltip().await.contains(words).then_some(())
        })
        .await;
    }

    /// Clicks the icon itself.
    pub(crate) async fn click_icon(&self) {
        let clicked: zbus::Result<()> = self.item.call("Activate", &(0, 0)).await;
        clicked.expect("it takes clicks");
    }

    /// Returns the current menu.
    pub(crate) async fn menu(&self) -> Menu {
        let names: Vec<&str> = Vec::new();
        let (_, root): (u32, Node) = self
            .menu
            .call("GetLayout", &(0, -1, names))
            .await
            .expect("a menu");
        Menu(entries(root))
    }

    /// Waits until the menu satisfies `fits`.
    pub(crate) async fn menu_when(&self, fits: impl Fn(&Menu) -> bool) -> Menu {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface(MENU)
            .expect("an interface")
            .build();
        let bus = self.menu.connection();
        let mut changes = MessageStream::for_match_rule(rule, bus, None)
            .await
            .expect("the menu's signals");
        let mut menu = self.menu().await;
        let waiting = async {
            while !fits(&menu) {
                changes
                    .next()
                    .await
                    .expect("the bus lives")
                    .expect("a signal");
                menu = self.menu().await;
            }
        };
        let long_enough = tokio::time::timeout(super::super::TIMEOUT, waiting).await;
        assert!(long_enough.is_ok(), "the menu never matched:\n{menu}");
        menu
    }

    /// Clicks an entry.
    pub(crate) async fn click(&self, label: &str) {
        let menu = self.menu_when(|menu| menu.find(label).is_some()).await;
        let entry = menu.find(label).expect("an entry");
        assert!(entry.enabled, "{label} is greyed out in\n{menu}");
        let clicked: zbus::Result<()> = self
            .menu
            .call("Event", &(entry.id, "clicked", Value::from(0), 0_u32))
            .await;
        clicked.unwrap_or_else(|error| panic!("{label}: {error}"));
    }
}

/// Every entry with a label. The entries of a submenu follow its own entry.
#[derive(Debug)]
pub(crate) struct Menu(Vec<Entry>);

/// An entry of the menu.
#[derive(Debug)]
pub(crate) struct Entry {
    id: i32,
    label: String,
    /// Whether it can be clicked.
    pub(crate) enabled: bool,
}

impl Menu {
    pub(crate) fn find(&self, label: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.label == label)
    }

    pub(crate) fn has(&self, label: &str) -> bool {
        self.find(label).is_some()
    }
}

impl fmt::Display for Menu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|entry| writeln!(f, "  {}", entry.label))
    }
}

type Node = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

fn entries((id, properties, children): Node) -> Vec<Entry> {
    let enabled = properties.get("enabled");
    let own = text(&properties, "label").map(|label| Entry {
        id,
        label,
        enabled: enabled.is_none_or(|enabled| *enabled == OwnedValue::from(true)),
    });
    let inner = children
        .into_iter()
        .flat_map(|child| entries(Node::try_from(child).expect("an entry")));
    own.into_iter().chain(inner).collect()
}

fn text(properties: &HashMap<String, OwnedValue>, name: &str) -> Option<String> {
    let value = properties.get(name)?.try_clone().expect("a value");
    Some(String::try_from(value).expect("a text"))
}
