//! The menu in every status, drawn as text.

use control::api::{Problem, ProblemKind, ServerModeState, ServerState, SignInView};

use super::canned::{account, approval, server, sign_in, state, user_code};
use super::{MenuEntry, menu};
use crate::bridge_status::BridgeStatus;
use crate::tray_icon::{IconState, icon_state};

/// Compares the drawn menu, the icon and the tooltip.
fn check(status: &BridgeStatus, icon: IconState, tooltip: &str, expected: &str) {
    let mut drawn = String::new();
    draw(&menu(status), 0, &mut drawn);
    let expected: Vec<&str> = expected.lines().skip(1).map(|line| &line[8..]).collect();
    assert_eq!(drawn.trim_end().lines().collect::<Vec<_>>(), expected);
    assert_eq!(icon_state(status), (icon, tooltip.to_owned()));
}

fn draw(entries: &[MenuEntry], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for entry in entries {
        match entry {
            MenuEntry::Label(label) => *out += &format!("{indent}({label})\n"),
            MenuEntry::Click(label, action) => {
                *out += &format!("{indent}{label} -> {}\n", action.to_id());
            }
            MenuEntry::Submenu(label, inner) => {
                *out += &format!("{indent}{label} >\n");
                draw(inner, depth + 1, out);
            }
            MenuEntry::Separator => *out += &format!("{indent}---\n"),
        }
    }
}

fn problem(message: &str) -> Problem {
    Problem::new(ProblemKind::Failed, message)
}

#[test]
fn missing_bridge_offers_window_and_quit() {
    check(
        &BridgeStatus::Lost(problem("The bridge ended")),
        IconState::Attention,
        "Postern: The bridge ended",
        r#"
        (Background service not running)
        ---
        Open Postern -> {"open":"servers"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn hung_bridge_can_be_restarted() {
    check(
        &BridgeStatus::Hung(problem("the bridge (process 7) does not react")),
        IconState::Attention,
        "Postern: the bridge (process 7) does not react",
        r#"
        (Background service not responding)
        Restart background service -> "restart-bridge"
        ---
        Open Postern -> {"open":"servers"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn signed_out_state_offers_single_sign_in() {
    let mut state = state();
    state.servers = vec![server("snippets", ServerState::SignInNeeded)];
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::SignedOut,
        "Postern: not signed in",
        r#"
        (Not signed in)
        Sign in -> {"sign-in":"snippets"}
        ---
        snippets: sign-in needed >
          Sign in -> {"sign-in":"snippets"}
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/snippets/mcp"}
        ---
        Open Postern -> {"open":"servers"}
        Start server mode… -> {"open":"settings"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn user_code_can_be_copied() {
    let mut state = state();
    state.servers = vec![server("snippets", ServerState::SignInNeeded)];
    state.sign_ins = vec![SignInView {
        code: Some(user_code("WDJB-MJHT", "https://login.example.com/device")),
        ..sign_in("https://login.example.com/device")
    }];
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::Attention,
        "Postern: enter WDJB-MJHT to sign in to snippets",
        r#"
        (Not signed in)
        Copy code WDJB-MJHT -> {"copy":"WDJB-MJHT"}
        Copy sign-in link -> {"copy":"https://login.example.com/device"}
        Cancel sign-in to snippets -> {"cancel-sign-in":"snippets"}
        ---
        snippets: sign-in needed >
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/snippets/mcp"}
        ---
        Open Postern -> {"open":"servers"}
        Start server mode… -> {"open":"settings"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn pending_approval_opens_window_and_offers_no_link() {
    let mut state = state();
    state.servers = vec![server("snippets", ServerState::SignInNeeded)];
    state.sign_ins = vec![SignInView {
        approval: Some(approval(false)),
        ..sign_in("")
    }];
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::Attention,
        "Postern: snippets asks for access to api://snippets",
        r#"
        (Not signed in)
        snippets asks for access to api://snippets… -> {"open":"servers"}
        Cancel sign-in to snippets -> {"cancel-sign-in":"snippets"}
        ---
        snippets: sign-in needed >
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/snippets/mcp"}
        ---
        Open Postern -> {"open":"servers"}
        Start server mode… -> {"open":"settings"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn pending_sign_in_can_be_cancelled_and_is_not_offered() {
    let mut state = state();
    state.servers = vec![server("snippets", ServerState::SignInNeeded)];
    state.sign_ins = vec![SignInView {
        browser_problem: Some("no browser".into()),
        callback_port: Some(49152),
        ..sign_in("https://login.example.com/?x")
    }];
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::Attention,
        "Postern: no browser to sign in to snippets",
        r#"
        (Not signed in)
        Copy sign-in link -> {"copy":"https://login.example.com/?x"}
        Cancel sign-in to snippets -> {"cancel-sign-in":"snippets"}
        ---
        snippets: sign-in needed >
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/snippets/mcp"}
        ---
        Open Postern -> {"open":"servers"}
        Start server mode… -> {"open":"settings"}
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn connected_state_shows_accounts_endpoints_and_gateway() {
    let mut state = state();
    state.accounts = vec![account("a", "Ada"), account("b", "Bo")];
    state.servers = vec![server("snippets", ServerState::Ready)];
    state.server_mode = ServerModeState::Running {
        url: "http://127.0.0.1:4180".into(),
        pid: 2,
    };
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::Connected,
        "Postern: connected",
        r#"
        (Ada)
        (Bo)
        Sign out >
          Ada -> {"sign-out":"a"}
          Bo -> {"sign-out":"b"}
        ---
        snippets: ready >
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/snippets/mcp"}
        ---
        Open Postern -> {"open":"servers"}
        (Server mode: http://127.0.0.1:4180)
        Stop server mode -> "stop-server-mode"
        ---
        Quit Postern -> "quit""#,
    );
}

#[test]
fn problem_needs_attention_while_signed_in() {
    let mut state = state();
    state.accounts = vec![account("a", "Ada")];
    state.servers = vec![
        server("one", ServerState::SignInNeeded),
        server("two", ServerState::SignInNeeded),
    ];
    state.servers[1].endpoint = None;
    state.server_mode = ServerModeState::Off;
    check(
        &BridgeStatus::Connected(Box::new(state)),
        IconState::Attention,
        "Postern: sign in to one",
        r#"
        (Ada)
        Sign in >
          one -> {"sign-in":"one"}
          two -> {"sign-in":"two"}
        Sign out -> {"sign-out":"a"}
        ---
        one: sign-in needed >
          Sign in -> {"sign-in":"one"}
          Copy endpoint -> {"copy":"http://127.0.0.1:4127/one/mcp"}
        two: sign-in needed >
          Sign in -> {"sign-in":"two"}
        ---
        Open Postern -> {"open":"servers"}
        Start server mode -> "start-server-mode"
        ---
        Quit Postern -> "quit""#,
    );
}
