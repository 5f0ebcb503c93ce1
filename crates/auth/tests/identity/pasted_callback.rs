//! A browser that cannot reach this machine, and the address that it ended on.

use auth::{HandInError, SignInError, SignInFlow, Target, Whom};
use url::Url;

use super::authority::Rotation;
use super::fixture::{Desk, end_of};

async fn begin(desk: &Desk, target: &Target) -> SignInFlow {
    let identity = &desk.identity;
    let flow = identity.start_sign_in_elsewhere(target, None, Whom::Same);
    flow.await.unwrap()
}

#[tokio::test]
async fn the_address_that_the_browser_ended_on_finishes_the_sign_in() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = begin(&desk, &target).await;
    let (hand_in, page) = (flow.hand_in(), flow.url().clone());
    let end = end_of(&page).await;
    assert_eq!(end.port(), Some(flow.port()));
    let bring = async {
        let text = format!(" {end}\n");
        hand_in.give(&text).await
    };
    let (account, handed) = tokio::join!(flow.finish(), bring);
    account.unwrap();
    assert_eq!(handed, Ok(()));
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    let late = hand_in.give(end.as_str()).await;
    assert_eq!(late, Err(HandInError::Ended));
}

#[tokio::test]
async fn a_foreign_address_is_refused_and_the_sign_in_goes_on() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = begin(&desk, &target).await;
    let (hand_in, page) = (flow.hand_in(), flow.url().clone());
    let end = end_of(&page).await;
    let with = |change: &dyn Fn(&mut Url)| {
        let mut url = end.clone();
        change(&mut url);
        url.to_string()
    };
    let bring = async {
        let other_state = with(&|url| url.set_query(Some("code=c&state=other")));
        assert_eq!(hand_in.give(&other_state).await, Err(HandInError::Foreign));
        for strange in [
            String::new(),
            "the page".to_owned(),
            page.to_string(),
            with(&|url| url.set_query(None)),
            with(&|url| url.set_port(Some(1)).unwrap()),
            with(&|url| url.set_path("/other")),
            with(&|url| url.set_host(Some("evil.example")).unwrap()),
            format!("{end}&code=another"),
        ] {
            let given = hand_in.give(&strange).await;
            assert_eq!(given, Err(HandInError::NoAnswer), "{strange}");
        }
        assert!(desk.authority.asked("token").is_empty());
        let mixed_up = with(&|url| {
            let query = url.query().unwrap().replace("iss=http", "iss=https");
            url.set_query(Some(&query));
        });
        hand_in.give(&mixed_up).await
    };
    let (account, handed) = tokio::join!(flow.finish(), bring);
    assert_eq!(handed, Ok(()), "it belonged to this sign-in");
    let refused = account.unwrap_err();
    assert!(
        matches!(refused, SignInError::Insecure { .. }),
        "{refused}: an answer by hand is checked as any other"
    );
    assert!(desk.authority.asked("token").is_empty());
}

#[tokio::test]
async fn towards_entra_the_answer_comes_in_the_address_and_not_in_a_form() {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    let target = desk.entra_usual();
    let flow = begin(&desk, &target).await;
    let hand_in = flow.hand_in();
    let end = end_of(flow.url()).await;
    let (account, handed) = tokio::join!(flow.finish(), hand_in.give(end.as_str()));
    account.unwrap();
    assert_eq!(handed, Ok(()));
    assert!(!desk.authority.asked("authorize")[0].contains_key("response_mode"));
}
