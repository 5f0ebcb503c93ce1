//! A tray as a panel provides it, on the session bus (StatusNotifierItem, dbusmenu).

use std::collections::HashMap;

use futures_util::StreamExt;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::zvariant::{OwnedValue, Structure, Value};
use zbus::{Connection, Proxy, interface};

use crate::within;

const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// The watcher at which icons register.
pub(crate) struct TrayHost {
    bus: Connection,
    items: watch::Receiver<Option<String>>,
}

impl TrayHost {
    pub(crate) async fn open(address: &str) -> Self {
        let (sender, items) = watch::channel(None);
        let bus = zbus::connection::Builder::address(address)
            .and_then(|bus| bus.serve_at("/StatusNotifierWatcher", Watcher(sender)))
            .and_then(|bus| bus.name(WATCHER))
            .expect("a description of a connection")
            .build()
            .await
            .expect("the session bus");
        Self { bus, items }
    }

    /// Waits for an icon to register.
    pub(crate) async fn item(&self) -> TrayItem {
        let mut items = self.items.clone();
        let registered = items.wait_for(Option::is_some).await.expect("a watcher");
        let owner = registered.clone().expect("just asked");
        drop(registered);
        TrayItem {
            bus: self.bus.clone(),
            owner,
        }
    }
}

struct Watcher(watch::Sender<Option<String>>);

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    async fn register_status_notifier_item(
        &mut self,
        _service: &str,
        #[zbus(header)] header: Header<'_>,
    ) {
        let owner = header.sender().map(ToString::to_string);
        self.0.send_replace(owner);
    }

    #[zbus(property)]
    async fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    async fn protocol_version(&self) -> i32 {
        0
    }

    #[zbus(property)]
    async fn registered_status_notifier_items(&self) -> Vec<String> {
        self.0.borrow().iter().cloned().collect()
    }
}

/// The app's icon.
pub(crate) struct TrayItem {
    bus: Connection,
    owner: String,
}

type Layout = (u32, (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>));

impl TrayItem {
    /// Waits until the menu has an entry with this label. Returns all labels, one per line.
    pub(crate) async fn menu_with(&self, label: &str) -> String {
        let menu = self.menu().await;
        let mut updates = menu
            .receive_signal("LayoutUpdated")
            .await
            .expect("a subscription");
        within(label, async {
            loop {
                let entries = entries(&menu).await;
                if entries.iter().any(|(_, one)| one == label) {
                    let labels: Vec<String> = entries.into_iter().map(|(_, one)| one).collect();
                    return labels.join("\n");
                }
                updates.next().await.expect("a menu that lives");
            }
        })
        .await
    }

    pub(crate) async fn click(&self, label: &str) {
        let menu = self.menu().await;
        let entries = entries(&menu).await;
        let (id, _) = entries
            .iter()
            .find(|(_, one)| one == label)
            .unwrap_or_else(|| panic!("no `{label}` in {entries:?}"));
        // The app may exit before it responds.
        menu.call_noreply("Event", &(*id, "clicked", Value::from(""), 0_u32))
            .await
            .expect("a click");
    }

    /// Clicks the icon with the left button.
    pub(crate) async fn activate(&self) {
        let item = self.item().await;
        item.call_method("Activate", &(0_i32, 0_i32))
            .await
            .expect("a click");
    }

    pub(crate) async fn tooltip(&self) -> String {
        let item = self.item().await;
        let tooltip: Structure<'static> = item
            .get_property::<OwnedValue>("ToolTip")
            .await
            .expect("a tooltip")
            .try_into()
            .expect("a structure");
        match tooltip.fields().last() {
            Some(Value::Str(text)) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    async fn menu(&self) -> Proxy<'static> {
        self.proxy("/MenuBar", "com.canonical.dbusmenu").await
    }

    async fn item(&self) -> Proxy<'static> {
        self.proxy("/StatusNotifierItem", "org.kde.StatusNotifierItem")
            .await
    }

    async fn proxy(&self, path: &'static str, interface: &'static str) -> Proxy<'static> {
        zbus::proxy::Builder::new(&self.bus)
            .destination(self.owner.clone())
            .and_then(|proxy| proxy.path(path))
            .and_then(|proxy| proxy.interface(interface))
            .expect("a description of a proxy")
            // Reads the current value each time.
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .expect("a proxy")
    }
}

/// Returns all entries in order, including those of submenus.
async fn entries(menu: &Proxy<'_>) -> Vec<(i32, String)> {
    let (_, (_, _, children)): Layout = menu
        .call("GetLayout", &(0_i32, -1_i32, Vec::<String>::new()))
        .await
        .expect("a menu");
    let mut entries = Vec::new();
    for child in children {
        collect(&child, &mut entries);
    }
    entries
}

/// An entry is (id, properties, children).
fn collect(entry: &Value<'_>, entries: &mut Vec<(i32, String)>) {
    let Value::Structure(entry) = entry else {
        panic!("not an entry: {entry:?}");
    };
    let [
        Value::I32(id),
        Value::Dict(properties),
        Value::Array(children),
    ] = entry.fields()
    else {
        panic!("not an entry: {entry:?}");
    };
    if let Ok(Some(label)) = properties.get::<_, String>(&"label") {
        entries.push((*id, label));
    }
    for child in children.iter() {
        match child {
            Value::Value(child) => collect(child, entries),
            child => collect(child, entries),
        }
    }
}
