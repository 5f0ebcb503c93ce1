//! The one loop of the app: takes every [`Event`], keeps the one state, shows it everywhere.

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

/// How long a bridge may take to say that it ends, before the app ends without its word.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the loop holds.
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

/// A window that was told to close cannot be shown; one that is wanted then is made after it.
enum Closing {
    /// It is not about to go.
    No,
    /// It is.
    Yes,
    /// It is, and is wanted again.
    Reopen(Option<Page>),
}

impl Controller {
    /// Begins to follow the bridge.
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

    /// Runs until the app ends.
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
                self.turn(BridgeStatus::Connected(state));
            }
            Event::BridgeLost(problem) => {
                self.emit("lost", &problem);
                self.turn(BridgeStatus::Lost(problem));
            }
            Event::BridgeHangs(problem) => {
                self.emit("lost", &problem);
                self.turn(BridgeStatus::Hung(problem));
            }
            Event::Clicked(action) => self.click(action).await,
            Event::Failed(problem) => self.notify(&DesktopNotification::of_problem(&problem)),
            Event::WindowWanted => self.show_window(None),
            Event::WindowClosing => self.closing = Closing::Yes,
            Event::WindowClosed => match mem::replace(&mut self.closing, Closing::No) {
                Closing::No | Closing::Yes => self.leave_if_unreachable(),
                Closing::Reopen(page) => self.show_window(page),
            },
        }
    }

    /// Makes `next` the state, everywhere but in the window.
    fn turn(&mut self, next: BridgeStatus) {
        let news = notifications(&self.status.borrow(), &next);
        self.tray.show(&next);
        self.status.send_replace(next);
        for notice in news {
            self.notify(&notice);
        }
    }

    async fn click(&mut self, action: Action) {
        match action {
            Action::SignIn(server) => self.ask(Request::SignIn {
                server,
                way: SignInWay::Here,
            }),
            Action::CancelSignIn(server) => self.ask(Request::CancelSignIn { server }),
            Action::SignOut(account) => self.ask(Request::SignOut {
                everywhere: false,
                account: Some(account),
            }),
            Action::Copy(text) => self.copy(&text),
            Action::Open(page) => self.open(page),
            Action::RestartBridge => self.restart(),
            Action::StartServerMode => self.ask(Request::StartServerMode),
            Action::StopServerMode => self.ask(Request::StopServerMode),
            Action::Quit => self.quit().await,
        }
    }

    /// Asks the bridge without waiting; what goes wrong comes back as an event.
    fn ask(&self, request: Request) {
        let (bridge, events) = (self.bridge.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Err(problem) = bridge.call(&request).await {
                events.send(Event::Failed(problem));
            }
        });
    }

    /// Restarts the bridge without waiting. It is followed again by itself.
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
            let problem = Problem::new(ProblemKind::Failed, format!("Nothing was copied: {error}"))
                .with_hint("Open Postern and copy it there.");
            self.notify(&DesktopNotification::of_problem(&problem));
        }
    }

    fn open(&mut self, page: Page) {
        match page {
            // The window stays where it is if it is open.
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
            tracing::error!("the window cannot be shown: {error:#}");
        }
    }

    /// Without a tray nothing would show that the app still runs. The bridge lives on.
    fn leave_if_unreachable(&self) {
        if !self.tray.is_up() {
            self.app.exit(0);
        }
    }

    /// Ends both. The bridge is not followed any more, or it would be started again.
    async fn quit(&mut self) {
        self.following.abort();
        match timeout(FAREWELL, self.bridge.call(&Request::Quit)).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => tracing::warn!("the bridge was not asked to end: {problem}"),
            Err(_) => tracing::warn!("the bridge did not answer the request to end"),
        }
        self.app.exit(0);
    }

    fn notify(&self, notice: &DesktopNotification) {
        let shown = self
            .app
            .notification()
            .builder()
            .title(&notice.title)
            .body(&notice.body)
            .show();
        if let Err(error) = shown {
            tracing::warn!("{}: {} (not shown: {error})", notice.title, notice.body);
        }
    }

    fn emit(&self, name: &str, payload: &impl serde::Serialize) {
        if let Err(error) = self.app.emit(name, payload) {
            tracing::warn!("the window was not told: {error}");
        }
    }
}
