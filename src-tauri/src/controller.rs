//! The app's event loop: handles every [`Event`], keeps the status, and shows it.

use std::mem;
use std::time::Duration;

use control::api::{Problem, ProblemKind, Request, SignInWay};
use tauri::{AppHandle, Emitter};
use tauri_plugin_notification::NotificationExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::bridge_status::{Bridge, BridgeStatus};
use crate::desktop::Clipboard;
use crate::event::{Action, Event, Events, Page};
use crate::notification::{DesktopNotification, notifications};
use crate::tray::{self, Tray};
use crate::window;

/// How long to wait for the bridge's response to a quit request before the app exits.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the loop.
pub(crate) struct Controller {
    app: AppHandle,
    bridge: Bridge,
    events: Events,
    status: watch::Sender<BridgeStatus>,
    tray: Tray,
    clipboard: Clipboard,
    following: JoinHandle<()>,
    closing: Closing,
}

/// Whether the window is closing. A closing window cannot be shown, so a request to show it waits
/// until it is closed.
enum Closing {
    /// It is not closing.
    No,
    /// It is closing.
    Yes,
    /// It is closing, and must be opened again.
    Reopen(Option<Page>),
}

impl Controller {
    /// Creates the controller and starts to follow the bridge.
    pub(crate) fn new(
        app: AppHandle,
        bridge: Bridge,
        events: Events,
        status: watch::Sender<BridgeStatus>,
    ) -> Self {
        let following = tokio::spawn(bridge.clone().follow(events.clone()));
        Self {
            tray: Tray::new(app.clone()),
            clipboard: Clipboard::default(),
            app,
            bridge,
            events,
            status,
            following,
            closing: Closing::No,
        }
    }

    /// Handles events until the app ends.
    pub(crate) async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<Event>) {
        let mut ticks = interval(tray::RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = incoming.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                _ = ticks.tick(), if !self.tray.is_up() => self.tray.ensure(),
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        tracing::trace!(?event, "handling");
        match event {
            Event::StateChanged(state) => {
                self.emit("state", &*state);
                self.set_status(BridgeStatus::Connected(state));
            }
            Event::BridgeLost(problem) => {
                self.emit("lost", &problem);
                self.set_status(BridgeStatus::Lost(problem));
            }
            Event::BridgeHangs(problem) => {
                self.emit("lost", &problem);
                self.set_status(BridgeStatus::Hung(problem));
            }
            Event::Clicked(action) => self.click(action).await,
            Event::Failed(problem) => self.notify(&DesktopNotification::from_problem(&problem)),
            Event::WindowWanted => self.show_window(None),
            Event::WindowClosing => self.closing = Closing::Yes,
            Event::WindowClosed => match mem::replace(&mut self.closing, Closing::No) {
                Closing::No | Closing::Yes => self.exit_if_unreachable(),
                Closing::Reopen(page) => self.show_window(page),
            },
        }
    }

    /// Stores the new status and shows it in the tray and as notifications.
    fn set_status(&mut self, next: BridgeStatus) {
        let new = notifications(&self.status.borrow(), &next);
        self.tray.show(&next);
        self.status.send_replace(next);
        for notification in new {
            self.notify(&notification);
        }
    }

    async fn click(&mut self, action: Action) {
        match action {
            Action::SignIn(server) => self.request(Request::SignIn {
                server,
                way: SignInWay::Local,
            }),
            Action::CancelSignIn(server) => self.request(Request::CancelSignIn { server }),
            Action::SignOut(account) => self.request(Request::SignOut {
                everywhere: false,
                account: Some(account),
            }),
            Action::Copy(text) => self.copy(&text),
            Action::Open(page) => self.open(page),
            Action::RestartBridge => self.restart(),
            Action::StartServerMode => self.request(Request::StartServerMode),
            Action::StopServerMode => self.request(Request::StopServerMode),
            Action::Quit => self.quit().await,
        }
    }

    /// Sends a request to the bridge without waiting. A failure is sent as an event.
    fn request(&self, request: Request) {
        let (bridge, events) = (self.bridge.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Err(problem) = bridge.call(&request).await {
                events.send(Event::Failed(problem));
            }
        });
    }

    /// Restarts the bridge without waiting. The task that follows the bridge connects again.
    fn restart(&self) {
        let (bridge, events) = (self.bridge.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Err(problem) = bridge.restart().await {
                events.send(Event::Failed(problem));
            }
        });
    }

    fn copy(&mut self, text: &str) {
        if let Err(error) = self.clipboard.copy(text) {
            let problem = Problem::new(ProblemKind::Failed, format!("Copying failed: {error}"))
                .with_hint("Open Postern and copy it there.");
            self.notify(&DesktopNotification::from_problem(&problem));
        }
    }

    fn open(&mut self, page: Page) {
        match page {
            // An open window keeps its page.
            Page::Servers => self.show_window(None),
            Page::Settings => self.show_window(Some(page)),
        }
    }

    fn show_window(&mut self, page: Option<Page>) {
        match self.closing {
            Closing::No => {}
            Closing::Yes | Closing::Reopen(_) => {
                self.closing = Closing::Reopen(page);
                return;
            }
        }
        if let Err(error) = window::show(&self.app, page) {
            tracing::error!("cannot show the window: {error:#}");
        }
    }

    /// Exits if there is no tray, because nothing would show that the app runs. The bridge keeps
    /// running.
    fn exit_if_unreachable(&self) {
        if !self.tray.is_up() {
            self.app.exit(0);
        }
    }

    /// Ends the bridge and the app. Stops following first, or the bridge would be started again.
    async fn quit(&mut self) {
        self.following.abort();
        match timeout(SHUTDOWN_TIMEOUT, self.bridge.call(&Request::Quit)).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => {
                tracing::warn!("cannot send the quit request to the bridge: {problem}");
            }
            Err(_) => tracing::warn!("the bridge did not respond to the quit request"),
        }
        self.app.exit(0);
    }

    fn notify(&self, notification: &DesktopNotification) {
        let shown = self
            .app
            .notification()
            .builder()
            .title(&notification.title)
            .body(&notification.body)
            .show();
        if let Err(error) = shown {
            tracing::warn!(
                "{}: {} (not shown: {error})",
                notification.title,
                notification.body
            );
        }
    }

    fn emit(&self, name: &str, payload: &impl serde::Serialize) {
        if let Err(error) = self.app.emit(name, payload) {
            tracing::warn!("cannot send an event to the window: {error}");
        }
    }
}
