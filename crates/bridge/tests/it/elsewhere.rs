//! Sign-ins where the bridge cannot open a browser.

use bridge::browser::{BrowserAvailability, NoBrowserReason};
use control::CallError;
use control::api::{ProblemKind, Request, ServerState, SignInView, SignInWay, State};
use serde_json::json;
use url::Url;

use crate::bridge::Bridge;
use crate::server::Server;

const SSH: BrowserAvailability = BrowserAvailability::Unavailable(NoBrowserReason::Ssh);

fn sign_in(way: SignInWay) -> Request {
    let server = "one".to_owned();
    Request::SignIn { server, way }
}

fn finish(address: &str) -> Request {
    Request::FinishSignIn {
        server: "one".to_owned(),
        address: address.into(),
    }
}

/// A bridge for `server` whose user has a browser only on another machine.
async fn bridge_over_ssh(server: &Server) -> Bridge {
    server.record.want_sign_in();
    server.record.person("ann");
    Bridge::start_with(&server.url(), |options| {
        options.browser = None;
        options.browser_availability = SSH;
    })
    .await
}

async fn shown(bridge: &Bridge, wanted: impl Fn(&SignInView) -> bool) -> SignInView {
    let is_shown = |state: &State| state.sign_ins.first().is_some_and(&wanted);
    let state = bridge.until_state(is_shown).await;
    state.sign_ins[0].clone()
}

/// Returns the URL that a browser on the page would end on.
fn end_of(page: &SignInView) -> Url {
    let page: Url = page.url.parse().unwrap();
    let asked: std::collections::HashMap<_, _> = page.query_pairs().collect();
    let mut end: Url = asked["redirect_uri"].parse().unwrap();
    end.query_pairs_mut()
        .append_pair("code", "c")
        .append_pair("state", &asked["state"]);
    end
}

fn kind(outcome: Result<control::api::Reply, CallError>) -> Option<ProblemKind> {
    match outcome {
        Err(CallError::Problem(problem)) => Some(problem.kind),
        Ok(_) | Err(_) => None,
    }
}

#[tokio::test]
async fn host_gets_device_code_and_next_call_succeeds() {
    let server = Server::start().await;
    server.record.offer_codes();
    let bridge = bridge_over_ssh(&server).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = host
        .request(1, "tools/call", json!({ "name": "echo" }))
        .await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    assert_eq!(
        answer["error"]["data"]["hint"],
        "open https://login.example/device on any device and enter the code WDJB-MJHT, then try again"
    );
    server.record.enter_code();
    bridge.until_state(|state| state.sign_ins.is_empty()).await;
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[tokio::test]
async fn device_code_is_shown_and_can_be_cancelled() {
    let server = Server::start().await;
    server.record.offer_codes();
    let bridge = bridge_over_ssh(&server).await;
    let cancelling = async {
        let view = shown(&bridge, |_| true).await;
        let code = view.code.unwrap();
        assert_eq!(code.code, "WDJB-MJHT");
        assert_eq!(code.page, "https://login.example/device");
        assert!(code.until > view.since);
        assert_eq!(view.url, "https://login.example/device?code=WDJB-MJHT");
        assert_eq!((view.callback_port, view.browser_problem), (None, None));
        let server = "one".to_owned();
        bridge.call(Request::CancelSignIn { server }).await.unwrap();
    };
    let (ended, ()) = tokio::join!(bridge.call(sign_in(SignInWay::DeviceCode)), cancelling);
    assert_eq!(kind(ended), Some(ProblemKind::SignInEnded));
    assert_eq!(bridge.state().await.sign_ins, []);
}

#[tokio::test]
async fn failed_browser_falls_back_to_device_code() {
    let server = Server::start().await;
    server.record.offer_codes();
    server.record.enter_code();
    server.record.want_sign_in();
    server.record.person("ann");
    // Its browser is `false`.
    let bridge = Bridge::start(&server.url()).await;
    bridge.call(sign_in(SignInWay::Local)).await.unwrap();
    let state = bridge.state().await;
    assert_eq!(state.accounts[0].name.as_deref(), Some("ann"));
}

#[tokio::test]
async fn pasted_callback_completes_sign_in() {
    let server = Server::start().await;
    let bridge = bridge_over_ssh(&server).await;
    let bringing = async {
        let view = shown(&bridge, |_| true).await;
        assert_eq!(
            view.browser_problem.as_deref(),
            Some("this session came over SSH")
        );
        let end = end_of(&view);
        assert_eq!(end.port(), view.callback_port);
        let mut foreign = end.clone();
        foreign.set_query(Some("code=c&state=other"));
        for wrong in [foreign.as_str(), "https://login.example/"] {
            let refused = bridge.call(finish(wrong)).await;
            assert_eq!(kind(refused), Some(ProblemKind::Invalid), "{wrong}");
        }
        bridge.call(finish(end.as_str())).await.unwrap();
    };
    let (ended, ()) = tokio::join!(bridge.call(sign_in(SignInWay::Local)), bringing);
    ended.unwrap();
    let late = bridge
        .call(finish("http://127.0.0.1:1/callback?code=c"))
        .await;
    assert_eq!(kind(late), Some(ProblemKind::NotFound));
}

/// Signs in to a server that offers codes but gives this client none. Returns what is shown.
async fn sign_in_without_device_code(bridge: &Bridge) -> SignInView {
    let bringing = async {
        let view = shown(bridge, |view| view.browser_problem.is_some()).await;
        bridge.browse().await;
        view
    };
    let (ended, view) = tokio::join!(bridge.call(sign_in(SignInWay::Local)), bringing);
    ended.unwrap();
    view
}

#[tokio::test]
async fn unregistered_device_code_falls_back_to_page() {
    let server = Server::start().await;
    server.record.offer_codes_without_registration();
    let bridge = bridge_over_ssh(&server).await;
    for _ in ["nothing is registered", "a browser is"] {
        let view = sign_in_without_device_code(&bridge).await;
        let why = view.browser_problem.as_deref();
        assert_eq!(why, Some("this session came over SSH"));
    }
    // Its browser is `false`.
    let bridge = Bridge::start(&server.url()).await;
    let view = sign_in_without_device_code(&bridge).await;
    assert_eq!(view.code, None);
}

#[tokio::test]
async fn tokens_after_cancelled_sign_in_are_used() {
    let server = Server::start().await;
    server.record.sign_in_late();
    let bridge = bridge_over_ssh(&server).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let end = end_of(&shown(&bridge, |_| true).await);
    let cancelling = async {
        server.record.hanging((1, 0)).await;
        let server = "one".to_owned();
        bridge.call(Request::CancelSignIn { server }).await.unwrap();
        bridge.until_state(|state| state.sign_ins.is_empty()).await;
    };
    let (given, ()) = tokio::join!(bridge.call(finish(end.as_str())), cancelling);
    assert_eq!(kind(given), Some(ProblemKind::Invalid));
    let state = bridge.state().await;
    assert_eq!(state.servers[0].state, ServerState::SignInNeeded);
    assert_eq!(state.accounts, []);

    server.record.release();
    bridge.until(|state| *state == ServerState::Ready).await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    let state = bridge.state().await;
    assert_eq!(state.accounts[0].name.as_deref(), Some("ann"));
}

#[tokio::test]
async fn sign_in_method_can_change_while_page_waits() {
    let server = Server::start().await;
    server.record.offer_codes();
    server.record.want_sign_in();
    server.record.person("ann");
    let bridge = Bridge::start_with(&server.url(), |options| {
        options.browser = Some("true".to_owned());
    })
    .await;
    let turning = async {
        shown(&bridge, |view| view.code.is_none()).await;
        let entering = async {
            shown(&bridge, |view| view.code.is_some()).await;
            server.record.enter_code();
        };
        let (ended, ()) = tokio::join!(bridge.call(sign_in(SignInWay::DeviceCode)), entering);
        ended.unwrap();
    };
    let (first, ()) = tokio::join!(bridge.call(sign_in(SignInWay::Local)), turning);
    first.expect("the code completes the first sign-in too");
}

#[tokio::test]
async fn unsupported_device_code_is_rejected() {
    let server = Server::start().await;
    let bridge = bridge_over_ssh(&server).await;
    let refused = bridge.call(sign_in(SignInWay::DeviceCode)).await;
    let Err(CallError::Problem(problem)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(problem.kind, ProblemKind::NotOffered);
    let ways = "sign in with a browser: `postern sign-in one`, or `postern sign-in one --paste` for one on another machine";
    assert_eq!(problem.hint.as_deref(), Some(ways));
}

#[tokio::test]
async fn rejected_device_code_error_names_browser_commands() {
    for error in ["access_denied", "expired_token", "invalid_grant"] {
        let server = Server::start().await;
        server.record.refuse_code(error);
        let bridge = bridge_over_ssh(&server).await;
        let refused = bridge.call(sign_in(SignInWay::DeviceCode)).await;
        let Err(CallError::Problem(problem)) = refused else {
            panic!("{refused:?}");
        };
        let hint = problem.hint.unwrap();
        let ways = ", or sign in with a browser: `postern sign-in one`, or `postern sign-in one --paste` for one on another machine";
        assert!(hint.ends_with(ways), "{error}: {hint}");
    }
}

#[tokio::test]
async fn call_after_rejected_device_refresh_gets_page() {
    for refusal in [
        json!({ "error": "invalid_grant", "suberror": "message_only" }),
        json!({ "error": "invalid_grant" }),
    ] {
        let server = Server::start().await;
        server.record.offer_codes();
        server.record.enter_code();
        server.record.refuse_refresh(refusal.clone());
        let bridge = bridge_over_ssh(&server).await;
        bridge.call(sign_in(SignInWay::DeviceCode)).await.unwrap();
        let mut host = bridge.host("one").await;
        host.initialize().await;
        let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
        assert_eq!(answer["result"]["x"], 1, "{answer}");

        server.record.end_token();
        let signing_in = async {
            let view = shown(&bridge, |_| true).await;
            assert_eq!(view.code, None, "{refusal}");
            let problem = bridge.state().await.servers[0]
                .sign_in_problem
                .clone()
                .unwrap();
            assert_eq!(problem.kind, ProblemKind::SignInNeeded);
            let hint = problem.hint.unwrap();
            assert!(hint.starts_with("sign in with a browser, "), "{hint}");
            assert!(hint.contains("`postern sign-in one --paste`"), "{hint}");
            let end = end_of(&view);
            bridge.call(finish(end.as_str())).await.unwrap();
        };
        let calling = host.request(2, "tools/call", json!({ "x": 2 }));
        let (answer, ()) = tokio::join!(calling, signing_in);
        assert_eq!(answer["result"]["x"], 2, "{refusal}: {answer}");
    }
}
